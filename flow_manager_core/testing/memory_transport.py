"""A transport in memory, for tests and for host applications that try themselves out.

Programs and manager share a `MemoryNetwork`, which outlives the manager's lives as a host's file
system does::

    network = MemoryNetwork()
    manager = FlowManager(..., transport=memory_transport_provider(network))

    async def program(flow: MemoryFlow) -> int:
        async with await network.connect(flow.environment) as stream:
            ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
from anyio.abc import ByteStream, TaskGroup, TaskStatus
from attrs import define, field

from flow_manager_core.contracts import ConnectionHandler, Endpoint, Transport
from flow_manager_core.errors import ChannelError
from flow_manager_core.log import Log
from flow_manager_core.models import Attachment, Fault
from flow_manager_core.providers import ProviderContext, TransportProvider
from flow_manager_core.testing.memory_stream import memory_pipe

__all__ = ["MemoryNetwork", "MemoryTransport", "memory_transport_provider"]

VARIABLES = ("FLOW_SOCKET", "SOCKET_PATH")


@define
class MemoryNetwork:
    """Who listens where; addresses are ``memory:<name>``."""

    endpoints: dict[str, MemoryEndpoint] = field(factory=dict)

    async def connect(self, environment: Mapping[str, str]) -> ByteStream:
        """Connect as a program does that was made with this environment.

        Raises:
            ConnectionRefusedError: nobody listens there, now.
        """
        address = environment["FLOW_SOCKET"]
        endpoint = self.endpoints.get(address)
        if endpoint is None:
            raise ConnectionRefusedError(f"Nobody listens at {address}")
        return endpoint.connect()


class MemoryEndpoint(Endpoint):
    """Hands the program's end of each new pipe out, and the manager's end to the handler."""

    def __init__(
        self, network: MemoryNetwork, address: str, handler: ConnectionHandler, log: Log
    ) -> None:
        self.address = address
        self._network = network
        self._handler = handler
        self._log = log
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._tasks: TaskGroup

    def attachment(self, *, isolated: bool) -> Attachment:
        """The address alone: a program in this process needs no mount."""
        return Attachment(dict.fromkeys(VARIABLES, self.address))

    def connect(self) -> ByteStream:
        """Make a connection, and give the program's end of it."""
        ours, theirs = memory_pipe()
        self._tasks.start_soon(self._handle, ours)
        return theirs

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Take connections until closed; the task's end is the end of them all."""
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    self._network.endpoints[self.address] = self
                    task_status.started()
                    await anyio.sleep_forever()
        finally:
            self._network.endpoints.pop(self.address, None)
            self._ended.set()

    async def close(self, *, remove: bool) -> None:
        """End the connections; there is nothing to remove."""
        self._network.endpoints.pop(self.address, None)
        self._scope.cancel()
        await self._ended.wait()

    async def _handle(self, stream: ByteStream) -> None:
        try:
            await self._handler(stream)
        except Exception:  # noqa: BLE001  # no fault of a handler may end the other endpoints
            self._log.exception("Connection handler failed", address=self.address)
        finally:
            await anyio.aclose_forcefully(stream)


class MemoryTransport(Transport):
    """Opens endpoints on a network."""

    def __init__(self, network: MemoryNetwork, log: Log, tasks: TaskGroup) -> None:
        self._network = network
        self._log = log
        self._tasks = tasks

    def unsupported(self, name: str) -> Sequence[Fault]:
        """Any name will do."""
        return ()

    async def open(self, name: str, handler: ConnectionHandler) -> Endpoint:
        """Listen at ``memory:<name>``."""
        address = f"memory:{name}"
        if address in self._network.endpoints:
            raise ChannelError(f"Another endpoint listens at {address}")
        endpoint = MemoryEndpoint(self._network, address, handler, self._log)
        await self._tasks.start(endpoint.serve)
        return endpoint


def memory_transport_provider(network: MemoryNetwork) -> TransportProvider:
    """Make the record that chooses this transport, by the name ``memory``."""

    def factory(context: ProviderContext) -> AbstractAsyncContextManager[Transport]:
        return _opened(network, context.log)

    return TransportProvider(name="memory", summary="pipes in this process", factory=factory)


@asynccontextmanager
async def _opened(network: MemoryNetwork, log: Log) -> AsyncIterator[Transport]:
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield MemoryTransport(network, log, tasks)
        except Exception as error:  # noqa: BLE001  # raised again, outside of the group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
