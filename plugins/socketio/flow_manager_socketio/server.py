"""uvicorn as a guest: our sockets, no signal handlers, no logging set-up, a bounded end."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import uvicorn

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import Log, get_log
from flow_manager_core.models import Fault
from flow_manager_socketio.acceptor import Acceptor, Context, MakeProtocol
from flow_manager_socketio.line import App
from flow_manager_socketio.protocols import WebSocket, http_protocol
from flow_manager_socketio.visits import VISIT, Visit, VisitLimits, Visitors

Accept = Callable[[socket.socket, MakeProtocol], Acceptor]

_BACKLOG = 2048
#: Seconds at close for connections to end by themselves, and for their tasks after that.
_GRACE, _TASKS_GRACE = 0.5, 0.3
#: Seconds until the date that answers carry is written anew; it tells whole ones.
_DATE = 1.0


async def bind(host: str, port: int, unread: float | None = None) -> list[socket.socket]:
    """Listen on every address that a host name stands for, with one port for all.

    Args:
        host: a name or an address; empty: all of this machine's.
        port: 0 for any free one.
        unread: seconds after which the kernel ends a connection whose peer takes nothing of what
            it was sent; left out: it never does, as long as the peer's kernel is there.

    Raises:
        ConfigurationError: it cannot be done; the port or the host is named.
    """
    if not 0 <= port <= 65535:
        raise ConfigurationError([Fault("port", f"must be from 0 to 65535, not {port}")])
    try:
        found = await anyio.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigurationError([Fault("host", f"{host!r} is unknown: {error}")]) from None
    sockets: list[socket.socket] = []
    try:
        for family, *_, address in dict.fromkeys(found):
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.append(_listen(family, (address[0], chosen, *address[2:])))
            if unread is not None:
                _end_unread(sockets[-1], unread)
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise ConfigurationError([_fault_of(error, host, port)]) from None
    return sockets


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    # asyncio turns Nagle off where the socket says by name that it is TCP; else answers take 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setblocking(False)
        opened.bind(address)
        opened.listen(_BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _end_unread(listener: socket.socket, seconds: float) -> None:
    """Have the kernel end each connection of a listener whose peer takes nothing for so long.

    Pings do not find a peer that talks and never reads. Linux may also bring such a connection to a
    standstill with room on one side: a peer without memory for a segment takes no window's update.
    """
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def _fault_of(error: OSError, host: str, port: int) -> Fault:
    if error.errno == errno.EADDRINUSE:
        return Fault("port", f"{port} on {host or 'this machine'} is already in use")
    if error.errno == errno.EACCES:
        return Fault("port", f"{port} may not be used without privileges")
    return Fault("host", f"cannot listen on {host!r}, port {port}: {error.strerror or error}")


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """The address of a listening socket, as clients write it."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _Config(uvicorn.Config):
    def configure_logging(self) -> None:
        """Leave logging as the process has it."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, accept: Accept) -> None:
        super().__init__(config)
        self.listening = anyio.Event()
        self._accept = accept
        self._leaving = anyio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections our own way; uvicorn's knows neither strangers nor slow handshakes."""
        await self.lifespan.startup()
        self.servers: list[Any] = [self._accept(one, self._attend) for one in sockets or ()]
        self.started = True
        self.listening.set()

    async def main_loop(self) -> None:
        """Keep the answers' date until told to leave; uvicorn's own wakes ten times a second."""
        while not await self.on_tick(0):
            with anyio.move_on_after(_DATE):
                await self._leaving.wait()

    def leave(self) -> None:
        """Have `serve` end."""
        self.should_exit = True
        self._leaving.set()

    async def cut(self) -> None:
        """End every connection that is left, whatever state it is in, and what runs for it."""
        with anyio.move_on_after(_TASKS_GRACE):
            for acceptor in self.servers:
                await acceptor.wait_closed()
        with anyio.move_on_after(_TASKS_GRACE):
            while connections := list(self.server_state.connections):
                for connection in connections:
                    connection.transport.abort()
                await asyncio.sleep(0)  # a transport tells of its end in a later turn
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=_TASKS_GRACE)

    def _attend(self, visit: Visit) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config,
            server_state=self.server_state,
            app_state={**self.lifespan.state, VISIT: visit},
        )
        return made


class HttpServer:
    """Serves one app on sockets that are bound already.

    Args:
        message_limit: bytes of one WebSocket message.
        limits: what strangers may hold.
        context: the TLS context for a new connection; ``None``: no TLS.
    """

    def __init__(
        self,
        message_limit: int,
        limits: VisitLimits | None = None,
        context: Context = lambda: None,
        log: Log | None = None,
    ) -> None:
        self._message_limit = message_limit
        self._visitors = Visitors(limits or VisitLimits())
        self._context = context
        self._log = log or get_log("socketio")

    @asynccontextmanager
    async def serving(self, app: App, sockets: Sequence[socket.socket]) -> AsyncIterator[None]:
        """Serve until left; then end within two seconds, whatever clients do."""
        server = _Server(self._config(app), self._acceptor)
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._run, server, list(sockets))
            try:
                await server.listening.wait()
                yield
            except Exception as error:  # noqa: BLE001 - carried past the task group's wrapping
                failure = error
            finally:
                server.leave()
        if failure is not None:
            raise failure

    def _acceptor(self, listener: socket.socket, make_protocol: MakeProtocol) -> Acceptor:
        return Acceptor(listener, make_protocol, self._visitors, self._context, self._log)

    async def _run(self, server: _Server, sockets: list[socket.socket]) -> None:
        # Shielded: cut off in the middle, uvicorn would leave its sockets open.
        with anyio.CancelScope(shield=True):
            await server.serve(sockets)
            await server.cut()

    def _config(self, app: App) -> uvicorn.Config:
        return _Config(
            app,
            http=http_protocol(),
            ws=WebSocket,
            ws_max_size=self._message_limit,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            workers=1,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE,  # type: ignore[arg-type]  # any number will do
        )
