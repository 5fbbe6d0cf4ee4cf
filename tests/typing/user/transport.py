"""A transport of one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import assert_type

from anyio.abc import ByteStream

from flow_manager_core import ProviderContext, TransportProvider
from flow_manager_core.contracts import ConnectionHandler, Endpoint, Transport
from flow_manager_core.models import Attachment, Fault, Mount


class MyEndpoint(Endpoint):
    def __init__(self, name: str, handler: ConnectionHandler) -> None:
        self.address = f"mine:{name}"
        self._handler = handler

    def attachment(self, *, isolated: bool) -> Attachment:
        mounts = (Mount("/run/mine", "/run/mine", read_only=True),) if isolated else ()
        return Attachment({"FLOW_SOCKET": self.address}, mounts)

    async def serve(self, stream: ByteStream) -> None:
        await self._handler(stream)

    async def close(self, *, remove: bool) -> None: ...


class MyTransport(Transport):
    def unsupported(self, name: str) -> Sequence[Fault]:
        return [] if name else [Fault("name", "is empty")]

    async def open(self, name: str, handler: ConnectionHandler) -> Endpoint:
        return MyEndpoint(name, handler)


@asynccontextmanager
async def opened(_context: ProviderContext) -> AsyncIterator[Transport]:
    yield MyTransport()


PROVIDER = TransportProvider(name="mine", factory=opened)


async def use(transport: Transport, handler: ConnectionHandler) -> None:
    endpoint = await transport.open("one", handler)
    assert_type(endpoint, Endpoint)
    assert_type(endpoint.address, str)
    assert_type(endpoint.attachment(isolated=True).mounts, tuple[Mount, ...])
    endpoint.attachment(True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await endpoint.close()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def handle(stream: ByteStream) -> None: ...


async def mistakes(transport: Transport) -> None:
    await transport.open("one", handle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Attachment([("FLOW_SOCKET", "x")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
