"""What the cases build on: one life of a transport, handlers that record, programs that connect."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from anyio.abc import ByteStream

from flow_manager_core.contracts import Endpoint, Transport
from flow_manager_core.log import get_log
from flow_manager_core.models import Attachment
from flow_manager_core.providers import ProviderContext, TransportProvider
from flow_manager_core.settings import Settings
from flow_manager_core.socket_stream import SocketStream

#: What a read raises once the connection is over, whoever ended it and however.
OVER = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Keeper:
    """A handler that keeps its connections, open until told or until the transport ends them."""

    def __init__(self) -> None:
        self.streams: list[ByteStream] = []
        self.ended: int = 0
        self._release = anyio.Event()

    async def __call__(self, stream: ByteStream) -> None:
        """Keep the connection."""
        self.streams.append(stream)
        try:
            await self._release.wait()
        finally:
            self.ended += 1

    def release(self) -> None:
        """Return from all handlers."""
        self._release.set()


async def echo(stream: ByteStream) -> None:
    """A handler that sends back what it gets."""
    async for piece in stream:
        await stream.send(piece)


class TransportPrograms:
    """The hooks of the suite. Set the attributes; override a method where they do not suffice."""

    #: The transport's provider record; `open` enters its factory.
    provider: ClassVar[TransportProvider]
    #: The provider's settings; ``None``: its settings class with its defaults.
    settings: ClassVar[object] = None
    #: Seconds that a condition may take to come true.
    patience: ClassVar[float] = 10.0
    #: Seconds in which a close must be over, whatever is open.
    prompt: ClassVar[float] = 2.0

    core: Settings

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio

    def open(self) -> AbstractAsyncContextManager[Transport]:
        """Give a life of the transport; all lives of one test are at the same place."""
        settings = self.provider.settings_class() if self.settings is None else self.settings
        log = get_log(f"transport.{self.provider.name}")
        return self.provider.factory(ProviderContext(settings=settings, core=self.core, log=log))

    async def connect(self, attachment: Attachment) -> ByteStream:
        """Connect as a program on this host does; raise `OSError` while nobody listens."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(attachment.environment["FLOW_SOCKET"])
        except OSError:
            connection.close()
            raise
        return SocketStream(connection)

    def traces(self) -> Collection[str]:
        """Name what the transport has on this host."""
        folders = (self.core.socket_dir, self.core.state_dir)
        return sorted(str(path) for folder in folders for path in folder.rglob("*"))

    @pytest.fixture(autouse=True)
    def _core(self, tmp_path: Path) -> None:
        self.core = Settings(socket_dir=tmp_path / "sockets", state_dir=tmp_path / "state")

    async def join(self, endpoint: Endpoint) -> ByteStream:
        """Connect as a program of the endpoint's own container does."""
        return await self.connect(endpoint.attachment(isolated=False))

    async def join_when_possible(self, attachment: Attachment) -> ByteStream:
        """Connect as a flow does that waits for its manager."""
        with anyio.fail_after(self.patience):
            while True:
                try:
                    return await self.connect(attachment)
                except OSError:
                    await anyio.sleep(0.01)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds.

        Raises:
            TimeoutError: it did not, for as long as `patience`.
        """
        with anyio.fail_after(self.patience):
            while not condition():
                await anyio.sleep(0.01)

    async def says(self, stream: ByteStream, text: bytes) -> None:
        """Send through an echo, and check that it comes back."""
        await stream.send(text)
        assert await self.read(stream, len(text)) == text

    async def read(self, stream: ByteStream, count: int) -> bytes:
        """Read exactly as many bytes."""
        found = bytearray()
        with anyio.fail_after(self.patience):
            while len(found) < count:
                found += await stream.receive(count - len(found))
        return bytes(found)

    async def sees_end(self, stream: ByteStream) -> None:
        """Check that the connection ends, whatever is still to be read."""
        with anyio.fail_after(self.patience):
            try:
                while True:
                    await stream.receive()
            except OVER:
                return

    async def promptly(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do something that must not take long."""
        with anyio.fail_after(self.prompt):
            await action()
