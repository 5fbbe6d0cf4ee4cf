"""The transport: opens endpoints, and finds the one that a connection's secret belongs to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from flow_manager_core.contracts import ConnectionHandler, Endpoint, Transport
from flow_manager_core.errors import ChannelError
from flow_manager_core.log import Log
from flow_manager_core.models import Fault
from flow_manager_core.providers import ProviderContext
from flow_manager_core.socket_stream import SocketStream
from flow_manager_tcp.door import Door
from flow_manager_tcp.endpoint import TcpEndpoint
from flow_manager_tcp.handshake import Refused
from flow_manager_tcp.place import Place, prepare
from flow_manager_tcp.private_files import Unsafe
from flow_manager_tcp.settings import TcpSettings
from flow_manager_tcp.vault import LONGEST_FILE_NAME, file_name

T = TypeVar("T")


@asynccontextmanager
async def tcp_transport(context: ProviderContext) -> AsyncIterator[Transport]:
    """Run the transport; leaving the context ends its connections and leaves its secrets.

    Raises:
        ConfigurationError: the port or the folder for the secrets cannot be used.
    """
    settings, log = context.settings, context.log
    place = await to_thread.run_sync(prepare, context.core, settings)
    for wrong in place.wrong:
        log.error("A secret cannot be used", error=wrong)
    failure: Exception | None = None
    with place.listener:
        async with anyio.create_task_group() as tasks:
            transport = TcpTransport(place, settings, log, tasks)
            tasks.start_soon(Door(place.listener, transport.admit, settings, log).run)
            try:
                yield transport
            except Exception as error:  # noqa: BLE001  # raised again below
                # Raised within the group, it would reach the caller wrapped in an exception group.
                failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


class TcpTransport(Transport):
    """One port for all containers, and a secret for each.

    Args:
        place: made ready by `prepare`.
        settings: of the transport.
        log: of the transport.
        tasks: what endpoints and connections run in.
    """

    def __init__(self, place: Place, settings: TcpSettings, log: Log, tasks: TaskGroup) -> None:
        self._vault = place.vault
        self._url = settings.url(place.port)
        self._settings = settings
        self._log = log
        self._tasks = tasks
        self._endpoints: dict[str, TcpEndpoint] = {}
        # One writer at a time: the folder is small and local.
        self._disk = anyio.CapacityLimiter(1)

    def unsupported(self, name: str) -> Sequence[Fault]:
        """Refuse a name that is too long for the file of its secret."""
        length = len(file_name(name))
        if length <= LONGEST_FILE_NAME:
            return ()
        told = f"makes a file name of {length} bytes; {LONGEST_FILE_NAME} are possible"
        return (Fault("name", told),)

    async def open(self, name: str, handler: ConnectionHandler) -> Endpoint:
        """Let in whoever has the container's secret, which is made if it has none.

        Raises:
            ChannelError: it is open already, or the secret cannot be kept or trusted.
        """
        if name in self._endpoints:
            raise ChannelError(f"The channel of {name} is open already")
        endpoint = self._endpoints[name] = TcpEndpoint(
            name, self._url, handler, self._settings, self._log, on_closed=self._closed
        )
        made = False
        try:
            made = await self._on_disk(partial(self._vault.keep, name))
            endpoint.secret = self._vault.secret(name)
            await self._tasks.start(endpoint.serve)
        except BaseException:
            if made:
                await self._undo(name)
            del self._endpoints[name]
            raise
        return endpoint

    def admit(self, secret: str, stream: SocketStream) -> None:
        """Hand a connection to the endpoint that its secret belongs to.

        Raises:
            Refused: it belongs to none, or to one that is not open.
        """
        name = self._vault.owner(secret)
        if name is None:
            raise Refused("The secret is wrong")
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise Refused("The flow's channel is not open", early=True)
        endpoint.admit(stream)

    async def _closed(self, endpoint: TcpEndpoint, remove: bool) -> None:
        if self._endpoints.get(endpoint.name, endpoint) is not endpoint:
            return  # the name has another endpoint by now
        try:
            if remove:
                await self._on_disk(partial(self._vault.forget, endpoint.name))
        finally:
            self._endpoints.pop(endpoint.name, None)

    async def _undo(self, name: str) -> None:
        """Leave nothing of an opening that was cut off: nobody was told of its secret."""
        with anyio.CancelScope(shield=True):
            try:
                await self._on_disk(partial(self._vault.forget, name))
            except ChannelError as error:
                self._log.warning("A secret is left", name=name, error=error.message)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        try:
            return await to_thread.run_sync(work, limiter=self._disk)
        except (Unsafe, OSError) as error:
            raise ChannelError(str(error)) from None
