"""The manager's end of one container's channel: runs the handlers of the connections let in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup, TaskStatus

from flow_manager_core.contracts import ConnectionHandler, Endpoint
from flow_manager_core.log import Log
from flow_manager_core.models import Attachment
from flow_manager_core.socket_stream import SocketStream
from flow_manager_tcp.handshake import WELCOME, Refused
from flow_manager_tcp.settings import TcpSettings


class TcpEndpoint(Endpoint):
    """One container's connections; `serve` must run for it to take any.

    Args:
        name: the container's.
        url: what its flow dials.
        handler: gets each connection.
        settings: of the transport.
        log: tells what concerns this endpoint.
        on_closed: awaited with this endpoint once its connections have ended, and with whether
            nothing of it may be left.
    """

    def __init__(
        self,
        name: str,
        url: str,
        handler: ConnectionHandler,
        settings: TcpSettings,
        log: Log,
        *,
        on_closed: Callable[[TcpEndpoint, bool], Awaitable[None]],
    ) -> None:
        # The fragment is for people: nobody dials it.
        self.address: str = f"{url}#{name}"
        self.name = name
        self.secret = ""
        self._url = url
        self._handler = handler
        self._settings = settings
        self._log = log
        self._on_closed = on_closed
        self._connections = 0
        self._full = False
        self._turn = anyio.Lock()
        self._scope = anyio.CancelScope()
        self._started = False
        self._ended = anyio.Event()
        self._tasks: TaskGroup

    def attachment(self, *, isolated: bool) -> Attachment:
        """Address and secret; there is nothing to mount."""
        if isolated and self._settings.loopback:
            self._log.warning(
                "A container with a network of its own cannot reach a loopback address",
                address=self.address,
                hint="set tcp.host and tcp.advertise to an address that containers can reach",
            )
        variables = dict.fromkeys(("FLOW_SOCKET", "SOCKET_PATH"), self._url)
        return Attachment({**variables, "FLOW_SECRET": self.secret})

    def admit(self, stream: SocketStream) -> None:
        """Take a connection for good.

        Raises:
            Refused: it cannot be had now.
        """
        if not self._started or self._scope.cancel_called or self._ended.is_set():
            raise Refused("The flow's channel is not open", early=True)
        if self._connections >= self._settings.max_connections:
            self._tell_full()
            raise Refused("The flow has too many connections", early=True)
        self._connections += 1
        self._tasks.start_soon(self._handle, stream)

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Let connections in until closed; the task's end is the end of them all."""
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    self._started = True
                    task_status.started()
                    await anyio.sleep_forever()
        finally:
            self._ended.set()

    async def close(self, *, remove: bool) -> None:
        """End the connections, and with `remove` make the secret worthless.

        Raises:
            ChannelError: its file cannot be removed.
        """
        self._scope.cancel()
        async with self._turn:
            await self._ended.wait()
            await self._on_closed(self, remove)

    async def _handle(self, stream: SocketStream) -> None:
        try:
            if await self._welcome(stream):
                await self._handler(stream)
        except Exception:  # noqa: BLE001  # no fault of a handler may end the other endpoints
            self._log.exception("Connection handler failed", address=self.address)
        finally:
            self._connections -= 1
            self._full = False
            await anyio.aclose_forcefully(stream)

    @staticmethod
    async def _welcome(stream: SocketStream) -> bool:
        try:
            await stream.send(WELCOME)
        except anyio.BrokenResourceError:
            return False
        return True

    def _tell_full(self) -> None:
        """A condition that lasts is one line in the log, until it has passed."""
        if not self._full:
            self._full = True
            limit = self._settings.max_connections
            self._log.warning("Too many connections", address=self.address, limit=limit)
