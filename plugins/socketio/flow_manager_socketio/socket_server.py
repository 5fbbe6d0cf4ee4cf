"""python-socketio's server and client manager, as far as this frontend bends them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import socketio
from socketio import packet

from flow_manager_core.errors import FlowManagerError, InvalidRequest
from flow_manager_core.log import Log
from flow_manager_core.models import Fault
from flow_manager_socketio.clients import Reply
from flow_manager_socketio.engine import NAMESPACE, Engine, EngineParts, Watch
from flow_manager_socketio.jsontext import encode
from flow_manager_socketio.line import LINE, Line
from flow_manager_socketio.lines import Lines
from flow_manager_socketio.pace import Pace
from flow_manager_socketio.packets import MESSAGE, MalformedPacket, TextPacket
from flow_manager_socketio.queues import Message
from flow_manager_socketio.settings import SocketIOSettings
from flow_manager_socketio.tasks import OwnedTasks
from flow_manager_socketio.wirelog import WireLog

#: Carries out what a client emitted: its id, the event, its arguments, whether it asked for an
#: acknowledgement.
Replying = Callable[[str, object, list[object], bool], Awaitable[Reply | None]]


class ClientManager(socketio.AsyncManager):  # type: ignore[misc]  # python-socketio has no types
    """Who is connected. Sends without a task for each receiver, and tells who has just come in."""

    def __init__(self, on_connected: Callable[[str], Awaitable[None]]) -> None:
        super().__init__()
        self._on_connected = on_connected

    async def connect(self, sid: str, namespace: str) -> Any:
        """Called once the client was sent its CONNECT packet: nothing can overtake that now."""
        connected = await super().connect(sid, namespace)
        await self._on_connected(sid)
        return connected

    def enter(self, sid: str, room: str) -> None:
        """Put a client into a room, without waiting for anything."""
        self.basic_enter_room(sid, NAMESPACE, room)

    def leave(self, sid: str, room: str) -> None:
        """Take a client out of a room, without waiting for anything."""
        self.basic_leave_room(sid, NAMESPACE, room)

    async def emit(
        self, event: str, data: Any, namespace: str, room: Any = None, **_options: Any
    ) -> None:
        """Queue an event for everyone in the rooms; never waits for a client."""
        message = event_message(event, data)
        for _sid, session in list(self.get_participants(namespace, room)):
            self.server.eio.tell(session, message)


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]  # python-socketio has no types
    """The Socket.IO server: text packets, owned tasks, and no client that can make it raise."""

    eio: Engine
    doorkeeper: Watch
    reply: Replying

    def __init__(
        self,
        *,
        settings: SocketIOSettings,
        manager: ClientManager,
        requests: OwnedTasks,
        parts: EngineParts,
        lines: Lines,
        error_body: Callable[[FlowManagerError], Mapping[str, Any]],
        log: Log,
    ) -> None:
        self._requests = requests
        self._lines = lines
        self._error_body = error_body
        self._log = log
        self._pace = Pace(settings.request_rate, settings.request_burst)
        super().__init__(
            client_manager=manager,
            serializer=TextPacket,
            logger=WireLog(log),
            engineio_logger=WireLog(log),
            async_mode="asgi",
            namespaces=[NAMESPACE],
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            max_http_buffer_size=settings.max_message_bytes,
            http_compression=False,
            cors_allowed_origins=[],  # `door` has checked already, and this one can be forged
            parts=parts,
        )
        self.eio.on("connect", self._opened)
        self.eio.on("message", self._received)
        self.eio.on("disconnect", self._ended)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """Run one request of a client; python-socketio starts them in the order they came."""
        return self._requests.start(target, *args, **kwargs)

    def admitted(self, session: str) -> bool:
        """Whether an Engine.IO session has a client that was let in."""
        sid = self.manager.sid_from_eio_sid(session, NAMESPACE)
        return sid is not None and bool(self.manager.is_connected(sid, NAMESPACE))

    def session_of(self, sid: str) -> str | None:
        """The Engine.IO session of a client, while it is in."""
        session: str | None = self.manager.eio_sid_from_sid(sid, NAMESPACE)
        return session

    def tell(self, sid: str, event: str, body: Any) -> None:
        """Send an event to one client; one that is gone gets none."""
        session = self.session_of(sid)
        if session is not None:
            self.eio.tell(session, event_message(event, body))

    def complaint(self, reason: str) -> str:
        """The packet that tells a client that one of its own cannot be read."""
        error = InvalidRequest([Fault("packet", f"cannot be read: {reason}")], operation="packet")
        return error_packet(self._error_body(error))

    def has_room(self, sid: str) -> bool:
        """Whether little waits for a client; true of one that is gone."""
        socket = self.eio.sockets.get(self.session_of(sid))
        return socket is None or socket.queue.has_room

    def join(self, session: str, line: Line) -> None:
        """A session lives on a WebSocket from now on: messages go straight, both ways."""
        self.eio.attach(session, line)
        line.join(partial(self._take, session), self.eio.ping_timeout / 2)

    async def _take(self, session: str, text: str) -> bool:
        if text[:1] != MESSAGE or len(text) > self.eio.max_http_buffer_size:
            return False
        await self._received(session, text[1:])
        return True

    async def _opened(self, session: str, environ: dict[str, Any]) -> Any:
        line = environ["asgi.scope"].get(LINE)
        if line is not None and line.session is None:
            self._lines.bind(line, session)
            self.join(session, line)
        refused = await self._handle_eio_connect(session, environ)
        await self.doorkeeper.opened(session)
        return refused

    async def _ended(self, session: str, reason: str) -> None:
        self.doorkeeper.ended(session)
        self.eio.end_pings(session)
        self._pace.forget(session)
        await self._handle_eio_disconnect(session, reason)
        await self.eio.release_poll(session)

    async def _send_packet(self, eio_sid: str, pkt: TextPacket) -> None:
        """Send what answers a CONNECT."""
        self.eio.tell(eio_sid, Message(pkt.encode()))

    async def _handle_event_internal(  # as python-socketio calls it
        self,
        server: object,
        sid: str,
        eio_sid: str,
        data: list[Any],
        namespace: str,
        id: int | None,
    ) -> None:
        """Answer a request: by the response event first, and by the acknowledgement."""
        reply = await self.reply(sid, data[0], data[1:], id is not None)
        if reply is None:
            return
        messages = []
        if reply.event is not None:
            messages.append(event_message(reply.event, reply.body))
        if id is not None:
            acknowledgement = TextPacket(packet.ACK, [reply.body], namespace, id)
            messages.append(Message(acknowledgement.encode()))
        self.eio.tell(eio_sid, *messages)

    async def _received(self, session: str, data: object) -> None:
        await self._hold_back(session)
        if isinstance(data, (bytes, bytearray)) and self.admitted(session):
            return  # an attachment, whose request has been refused by its head
        try:
            await self._handle_eio_message(session, data)
        except MalformedPacket as error:
            self._log.info("Client closed: it sent no packet", session=session, error=str(error))
            await self._dismiss(session, self.complaint(str(error)))
        except Exception as error:  # noqa: BLE001 - one client's, whatever it is
            self._log.error("Packet failed", session=session, error=repr(error), exc_info=error)
            await self._dismiss(session)

    async def _hold_back(self, session: str) -> None:
        """Read a client that is too quick later; what it has sent waits in its own connection."""
        wait = self._pace.wait(session, self.eio.now())
        if wait:
            # Its pong may wait behind its requests: what we read of it is a sign of life as well.
            self.eio.counts_as_pong(session)
            await asyncio.sleep(wait)

    async def _handle_connect(self, session: str, namespace: str | None, data: Any) -> None:
        """Take a CONNECT: one, and to the only namespace there is."""
        if namespace not in (None, NAMESPACE):
            told = f"there is only {NAMESPACE}, not {str(namespace)[:100]}"
            error = InvalidRequest([Fault("namespace", told)], operation="connect")
            body = {"message": error.message, "data": self._error_body(error)}
            refusal = self.packet_class(packet.CONNECT_ERROR, data=body, namespace=namespace)
            await self._send_packet(session, refusal)
        elif self.admitted(session):
            error = InvalidRequest([Fault("connect", "is done already")], operation="connect")
            await self.eio.send(session, error_packet(self._error_body(error)))
        else:
            await super()._handle_connect(session, namespace, data)

    async def _dismiss(self, session: str, last_words: str | None = None) -> None:
        told = last_words if self.admitted(session) else None
        await self.eio.close_session(session, told, discard=False)
        for line in self._lines.of(session):
            line.end()


def event_message(event: str, body: Any) -> Message:
    """An event as all get it."""
    return Message(TextPacket(namespace=NAMESPACE, data=[event, body]).encode())


def error_packet(body: Mapping[str, Any]) -> str:
    """The ``error`` event as a packet."""
    text: str = TextPacket(namespace=NAMESPACE, data=["error", encode(body)]).encode()
    return text
