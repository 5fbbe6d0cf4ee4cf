"""The manager's end of one container's channel: listens, and runs the connections' handlers."""

from __future__ import annotations

import socket
from collections.abc import Callable

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from flow_manager_core.contracts import ConnectionHandler, Endpoint
from flow_manager_core.errors import ChannelError
from flow_manager_core.log import Log
from flow_manager_core.models import Attachment, Mount
from flow_manager_core.socket_stream import SocketStream
from flow_manager_unix_socket.place import SOCKET_NAME, Place
from flow_manager_unix_socket.settings import UnixSocketSettings

#: Where a container finds its folder.
MOUNT_POINT = "/run/flow"
#: Seconds between two tries while connections cannot be accepted, for want of descriptors.
ACCEPT_PAUSE = 0.1


class UnixSocketEndpoint(Endpoint):
    """One listening socket and its connections.

    Args:
        place: where the socket stands.
        handler: gets each connection.
        settings: of the transport.
        log: tells what concerns this endpoint.
        disk: limits the threads that touch the disk.
        on_closed: called once the endpoint is closed and its place free.
    """

    def __init__(
        self,
        place: Place,
        handler: ConnectionHandler,
        settings: UnixSocketSettings,
        log: Log,
        *,
        disk: anyio.CapacityLimiter,
        on_closed: Callable[[], object],
    ) -> None:
        self.place = place
        self.address: str = str(place.address)
        self._handler = handler
        self._settings = settings
        self._log = log
        self._disk = disk
        self._on_closed = on_closed
        self._connections = 0
        self._told: set[str] = set()
        self._turn = anyio.Lock()
        self._scope = anyio.CancelScope()
        self._started = False
        self._ended = anyio.Event()
        self._tasks: TaskGroup
        self._listener: socket.socket

    def is_serving(self) -> bool:
        """Whether connections are accepted: from the opening on until the close begins."""
        return self._started and not self._scope.cancel_called and not self._ended.is_set()

    def attachment(self, *, isolated: bool) -> Attachment:
        """The folder, mounted read-only; or nothing but the host's path."""
        if not isolated:
            return Attachment(_variables(self.address))
        mount = Mount(str(self.place.folder), MOUNT_POINT, read_only=True)
        return Attachment(_variables(f"{MOUNT_POINT}/{SOCKET_NAME}"), (mount,))

    async def bind(self) -> socket.socket:
        """Put a new socket in place, for `serve`.

        Raises:
            ChannelError: somebody listens there, or the place cannot be used.
        """
        backlog = self._settings.backlog
        return await to_thread.run_sync(self.place.bind, backlog, limiter=self._disk)

    async def serve(self, bound: socket.socket, *, task_status: TaskStatus[None]) -> None:
        """Accept connections until closed; the task's end is the end of them all."""
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    self._listen(bound)
                    self._started = True
                    task_status.started()
                    await anyio.sleep_forever()
        finally:
            self._ended.set()

    async def close(self, *, remove: bool) -> None:
        """Stop listening, end the connections, and with `remove` take the files away.

        Raises:
            ChannelError: a file cannot be removed.
        """
        self._scope.cancel()
        async with self._turn:
            await self._ended.wait()
            try:
                if remove:
                    await to_thread.run_sync(self.place.remove, limiter=self._disk)
            finally:
                self._on_closed()

    async def repair(self) -> None:
        """Make again what was removed by hand; open connections are left alone."""
        async with self._turn:
            try:
                await self._repair()
            except ChannelError as error:
                self._tell_once("The socket cannot be made again", error=error.message)
            else:
                self._told.discard("The socket cannot be made again")

    async def _repair(self) -> None:
        if not self.is_serving():
            return
        if self.place.holds_socket():
            await to_thread.run_sync(self.place.publish, limiter=self._disk)
            return
        bound = await self.bind()
        if not self.is_serving():
            bound.close()
            return
        former = self._listener
        self._listen(bound)
        _close(former)

    def _listen(self, bound: socket.socket) -> None:
        self._listener = bound
        self._tasks.start_soon(self._accept, bound)

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while listener.fileno() >= 0:
                try:
                    await anyio.wait_readable(listener)
                    connection, _ = listener.accept()
                except (BlockingIOError, anyio.ClosedResourceError):
                    continue
                except OSError as error:
                    self._tell_once("Connections cannot be accepted", error=str(error))
                    await anyio.sleep(ACCEPT_PAUSE)
                else:
                    self._told.discard("Connections cannot be accepted")
                    self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        if self._connections >= self._settings.max_connections:
            self._tell_once("Too many connections", limit=self._settings.max_connections)
            connection.close()
            return
        self._connections += 1
        self._tasks.start_soon(self._handle, SocketStream(connection))

    async def _handle(self, stream: SocketStream) -> None:
        try:
            await self._handler(stream)
        except Exception:  # noqa: BLE001  # no fault of a handler may end the other endpoints
            self._log.exception("Connection handler failed", address=self.address)
        finally:
            self._connections -= 1
            self._told.discard("Too many connections")
            await anyio.aclose_forcefully(stream)

    def _tell_once(self, what: str, **fields: object) -> None:
        """A condition that lasts is one line in the log, until it has passed."""
        if what not in self._told:
            self._told.add(what)
            self._log.warning(what, address=self.address, **fields)


def _variables(path: str) -> dict[str, str]:
    return {"FLOW_SOCKET": path, "SOCKET_PATH": path}


def _close(listener: socket.socket) -> None:
    anyio.notify_closing(listener)
    listener.close()
