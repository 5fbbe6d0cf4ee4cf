"""The ASGI app: Socket.IO and the HTTP routes behind one door, for any ASGI server or host app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import parse_qs

import anyio
import orjson

from flow_manager_core.contracts import Gateway
from flow_manager_core.errors import ConfigurationError, ShuttingDown
from flow_manager_core.keyring import Keyring
from flow_manager_core.log import Log, get_log
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_socketio.access import Access
from flow_manager_socketio.door import DoorRules, FrontDoor
from flow_manager_socketio.doorkeeper import Doorkeeper
from flow_manager_socketio.engine import EngineParts
from flow_manager_socketio.http import HttpRoutes
from flow_manager_socketio.line import LINE, STRANGER_LIMIT, Line, Receive, Scope, Send
from flow_manager_socketio.lines import Lines
from flow_manager_socketio.namespace import RequestLimits, Requests
from flow_manager_socketio.paths import is_engine, route_of
from flow_manager_socketio.polling import post_packets
from flow_manager_socketio.queues import ClientQueue, Crowd, QueueLimits
from flow_manager_socketio.relay import Relay
from flow_manager_socketio.responses import pass_lifespan, refuse, respond
from flow_manager_socketio.rooms import ClientFeed, Rooms
from flow_manager_socketio.settings import SocketIOSettings
from flow_manager_socketio.socket_server import ClientManager, SocketServer
from flow_manager_socketio.tasks import OwnedTasks

#: Seconds at close for requests to be answered, cancelled ones to end, clients to take what waits
#: for them. Their sum leaves the server room below three seconds.
_ANSWERING, _CANCELLING, _FLUSHING = 0.8, 0.4, 0.6
#: Requests of one session at once: a poll, packets, a WebSocket to change to, and one left over.
_LINES_PER_SESSION = 4


class SocketIOApp:
    """Lets Socket.IO clients and HTTP requests in. It lives once, on asyncio.

    Whoever serves it enters `running` for as long as it does; requests outside of that are answered
    with 503. `mounting.MountedSocketIO` does so for hosts.

    Args:
        gateway: the manager's side.
        core: of it count ``host`` (what the host is bound to), ``cors_origins``, the tokens and
            ``no_auth``.
        keyring: the tokens; left out: read here, which waits for files.

    Raises:
        ConfigurationError: a setting is wrong or not safe.
    """

    def __init__(
        self,
        gateway: Gateway,
        core: Settings,
        settings: SocketIOSettings | None = None,
        log: Log | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        chosen = settings or SocketIOSettings()
        self._gateway = gateway
        self._log = log or get_log("socketio")
        self._body_limit = chosen.max_message_bytes
        self._open = False
        self._lines = Lines()
        self._request_tasks = OwnedTasks(self._log)
        self._engine_tasks = OwnedTasks(self._log)
        limits = RequestLimits(chosen.requests_in_flight, chosen.max_clients)
        access = Access(core, keyring)
        self._clients = ClientManager(self._welcome)
        self._rooms = Rooms(gateway.selects, self._clients.enter, self._clients.leave)
        self._relay = Relay(gateway, self._emit, self._rooms, self._log)
        self._requests = Requests(gateway, access, limits, self._feed_of, self._log)
        self._crowd = Crowd()
        self._server = self._make_server(chosen)
        self._doorkeeper = Doorkeeper(
            self._server,
            self._lines,
            gateway,
            self._log,
            patience=chosen.connect_timeout,
            most=chosen.max_strangers,
        )
        self._server.doorkeeper = self._doorkeeper
        self._http = HttpRoutes(gateway, access, self._log).app
        self._door = FrontDoor(self._dispatch, DoorRules.of(core, chosen), gateway, is_engine)

    def _make_server(self, settings: SocketIOSettings) -> SocketServer:
        parts = EngineParts(
            tasks=self._engine_tasks,
            limits=QueueLimits(settings.client_queue, settings.client_queue_bytes),
            on_overflow=self._too_slow,
            crowd=self._crowd,
        )
        server = SocketServer(
            settings=settings,
            manager=self._clients,
            requests=self._request_tasks,
            parts=parts,
            lines=self._lines,
            error_body=self._gateway.error_body,
            log=self._log,
        )
        server.register_namespace(self._requests)
        server.reply = self._requests.reply
        return server

    def _feed_of(self, sid: str) -> ClientFeed:
        return ClientFeed(sid, self._rooms, lambda: self._relay.at)

    async def _welcome(self, sid: str) -> None:
        session = self._server.session_of(sid)
        if session is not None:
            self._doorkeeper.admitted(session)
        await self._requests.welcome(sid)

    def _too_slow(self, queue: ClientQueue) -> None:
        self._doorkeeper.too_slow(queue)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Relay events and let clients in, until left; see `close`.

        Raises:
            ConfigurationError: the event loop is not asyncio's.
        """
        require_asyncio()
        failure: BaseException | None = None
        async with anyio.create_task_group() as group:
            await group.start(self._relay.run)
            group.start_soon(self._doorkeeper.run)
            self._open = True
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - carried past the task group's wrapping
                failure = error
            finally:
                with anyio.CancelScope(shield=True):
                    await self.close()
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def close(self) -> None:
        """Let no one in any more, answer what was asked, tell the clients; two seconds at most.

        Their connections end without Socket.IO's DISCONNECT: to clients that means "do not come
        back", while these should once the service is there again.
        """
        if not self._open:
            return
        self._open = False
        self._requests.close()
        await self._request_tasks.wait(_ANSWERING)
        await self._request_tasks.close(_CANCELLING)
        await self._dismiss_everyone()
        await self._engine_tasks.close(_CANCELLING)

    async def _dismiss_everyone(self) -> None:
        engine = self._server.eio
        for session in list(engine.sockets):
            await engine.close_session(session)
        self._lines.end_all()
        with anyio.move_on_after(_FLUSHING):
            await self._lines.emptied()
        self._lines.cut_all()
        for session in list(engine.sockets):
            engine.forget_session(session)

    async def _emit(self, event: str, body: orjson.Fragment, rooms: Sequence[str]) -> None:
        await self._server.emit(event, body, to=list(rooms))
        await self._crowd.catch_up()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry point."""
        await self._door(scope, receive, send)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await pass_lifespan(receive, send)
            return
        route = route_of(scope)
        if not self._open:
            error = ShuttingDown("The service is starting or closing")
            await refuse(scope, send, self._gateway, 503, error)
        elif is_engine(scope):
            await self._serve_engine(scope, receive, send)
        else:
            root = scope["path"].removesuffix(route)
            await self._http({**scope, "root_path": root}, receive, send)

    async def _serve_engine(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if "j" in query:
            # JSONP: a script tag carries no Origin, so any page could read the answer.
            await respond(scope, send, 400)
            return
        session = query.get("sid", [None])[0]
        if session is not None and len(self._lines.of(session)) >= _LINES_PER_SESSION:
            await respond(scope, send, 400)
            return
        line = Line(scope, receive, send, self._server.complaint)
        scope[LINE] = line
        if session is not None and self._server.admitted(session):
            line.admit()
        if session is not None and scope["type"] == "websocket":
            line.on_upgrade = partial(self._server.join, session)
        with self._lines.opened(line, session):
            try:
                await self._relay_request(scope, line)
            except ConnectionResetError:
                pass  # we cut it ourselves
            except Exception as error:  # noqa: BLE001 - python-engineio lets clients cause any
                self._log.warning("Socket.IO request failed", error=repr(error)[:500])
                if not line.answered:
                    await respond(scope, line.send, 400)

    async def _relay_request(self, scope: Scope, line: Line) -> None:
        engine = self._server.handle_request
        if scope.get("method") == "POST":
            limit = self._body_limit if line.admitted else min(self._body_limit, STRANGER_LIMIT)
            await post_packets(engine, limit, scope, line.receive, line.send)
        else:
            await engine(scope, line.receive, line.send)


def require_asyncio() -> None:
    """Refuse any other event loop.

    Raises:
        ConfigurationError: the event loop is not asyncio's.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        told = "the socketio frontend runs on asyncio alone: python-socketio knows no other loop"
        raise ConfigurationError([Fault("frontends", told)]) from None
