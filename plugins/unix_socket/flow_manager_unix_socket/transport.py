"""The transport: opens endpoints, and looks after the files of all of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from flow_manager_core.contracts import ConnectionHandler, Endpoint, Transport
from flow_manager_core.errors import ChannelError, ConfigurationError
from flow_manager_core.log import Log
from flow_manager_core.models import Fault
from flow_manager_core.providers import ProviderContext
from flow_manager_unix_socket.endpoint import UnixSocketEndpoint
from flow_manager_unix_socket.place import Place
from flow_manager_unix_socket.private_folder import Unsafe, private_folder
from flow_manager_unix_socket.settings import UnixSocketSettings

#: Bytes of a socket's path, by Linux's `sockaddr_un`: 108 with the closing NUL.
MOST_PATH_BYTES = 107
#: Threads that may touch the disk at a time. It is local, so more would not be faster.
DISK_THREADS = 4
#: Channels whose files are looked at in one go; more of them take turns. A look is two system
#: calls, some 15 µs: for 200 channels twice a second that was 0.6 % of a core, measured.
AT_ONCE = 50


@asynccontextmanager
async def unix_socket_transport(context: ProviderContext) -> AsyncIterator[Transport]:
    """Run the transport; leaving the context ends its connections and leaves its files.

    Raises:
        ConfigurationError: the folder for the sockets cannot be used.
    """
    root = context.core.socket_dir.absolute()
    _prepare(root)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        transport = UnixSocketTransport(root, context.settings, context.log, tasks)
        tasks.start_soon(transport.watch)
        try:
            yield transport
        except Exception as error:  # noqa: BLE001  # raised again below
            # Raised within the group, it would reach the caller wrapped in an exception group.
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


class UnixSocketTransport(Transport):
    """A Unix socket for each container.

    Args:
        root: the private folder of all sockets, absolute.
        settings: of the transport.
        log: of the transport.
        tasks: what endpoints and connections run in.
    """

    def __init__(
        self, root: Path, settings: UnixSocketSettings, log: Log, tasks: TaskGroup
    ) -> None:
        self._root = root
        self._settings = settings
        self._log = log
        self._tasks = tasks
        self._endpoints: dict[str, UnixSocketEndpoint] = {}
        self._disk = anyio.CapacityLimiter(DISK_THREADS)
        self._looked_at = 0

    def unsupported(self, name: str) -> Sequence[Fault]:
        """Refuse a name whose socket no program could connect to, for its path's length."""
        length = len(os.fsencode(Place(self._root, name).address))
        if length <= MOST_PATH_BYTES:
            return ()
        told = f"makes the socket's path {length} bytes long; {MOST_PATH_BYTES} are possible"
        return (Fault("name", told),)

    async def open(self, name: str, handler: ConnectionHandler) -> Endpoint:
        """Listen at ``<name>.sock``.

        Raises:
            ChannelError: this transport or another process listens there already, or the place
                cannot be used.
        """
        if name in self._endpoints:
            raise ChannelError(f"The channel of {name} is open already")
        endpoint = self._endpoints[name] = UnixSocketEndpoint(
            Place(self._root, name),
            handler,
            self._settings,
            self._log,
            disk=self._disk,
            on_closed=partial(self._endpoints.pop, name, None),
        )
        try:
            await self._serve(endpoint)
        except BaseException:
            self._endpoints.pop(name, None)
            raise
        return endpoint

    async def watch(self) -> None:
        """Find what was removed by hand, and have it made again, for as long as it runs."""
        while True:
            await anyio.sleep(self._settings.watch_interval)
            if chosen := [e for e in self._in_turn() if e.is_serving()]:
                for endpoint in await to_thread.run_sync(_amiss, chosen, limiter=self._disk):
                    await endpoint.repair()

    def _in_turn(self) -> Sequence[UnixSocketEndpoint]:
        """The endpoints to look at now; the next ones the next time."""
        every = list(self._endpoints.values())
        if len(every) <= AT_ONCE:
            return every
        first = self._looked_at % len(every)
        self._looked_at = first + AT_ONCE
        return (every[first:] + every[:first])[:AT_ONCE]

    async def _serve(self, endpoint: UnixSocketEndpoint) -> None:
        bound = await endpoint.bind()
        try:
            await self._tasks.start(endpoint.serve, bound)
        except BaseException:
            bound.close()
            raise


def _amiss(endpoints: Sequence[UnixSocketEndpoint]) -> list[UnixSocketEndpoint]:
    return [endpoint for endpoint in endpoints if not endpoint.place.intact()]


def _prepare(root: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        raise ConfigurationError([Fault("transport", "unix_socket needs Linux with /proc")])
    try:
        with private_folder(root, create=True):
            pass
    except (Unsafe, OSError) as error:
        raise ConfigurationError([Fault("socket_dir", str(error))]) from None
