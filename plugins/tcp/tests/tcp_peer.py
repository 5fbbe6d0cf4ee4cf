"""Flows of these tests: sockets that speak the handshake, or something else."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteStream

from flow_manager_core.contracts import Transport
from flow_manager_core.log import get_log
from flow_manager_core.models import Attachment
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_core.socket_stream import SocketStream
from flow_manager_tcp.settings import TcpSettings
from flow_manager_tcp.transport import tcp_transport

PATIENCE = 10.0
OVER = (anyio.EndOfStream, anyio.BrokenResourceError)


@asynccontextmanager
async def transport_at(root: Path, **settings: Any) -> AsyncIterator[Transport]:
    """One life of the transport; `root` is the manager's state folder."""
    context = ProviderContext(
        settings=TcpSettings(**{"port": 0, **settings}),
        core=Settings(state_dir=root),
        log=get_log("tcp"),
    )
    async with tcp_transport(context) as transport:
        yield transport


def folder(root: Path) -> Path:
    """Where that life keeps its secrets."""
    return root / "instances/default/tcp"


async def echo(stream: ByteStream) -> None:
    """A handler that sends back what it gets."""
    async for piece in stream:
        await stream.send(piece)


def frame(command: str, data: Any = None) -> bytes:
    """A frame of the channel."""
    body = json.dumps({"command": command, "data": data}).encode()
    return len(body).to_bytes(4, "big") + body


def auth(secret: object) -> bytes:
    """The frame that a connection begins with."""
    return frame("auth", {"secret": secret})


def where(attachment: Attachment) -> tuple[str, int]:
    """The host and port that a flow is told to dial."""
    url = attachment.environment["FLOW_SOCKET"]
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port)


def dial(attachment: Attachment) -> SocketStream:
    """Connect, and say nothing yet."""
    return SocketStream(socket.create_connection(where(attachment)))


async def join(attachment: Attachment) -> SocketStream:
    """Connect as a flow does, and be welcomed."""
    stream = dial(attachment)
    await stream.send(auth(attachment.environment["FLOW_SECRET"]))
    assert await hear(stream) == {"command": "welcome", "data": None}
    return stream


async def hear(stream: ByteStream) -> Any:
    """Read one frame, and not a byte more."""
    with anyio.fail_after(PATIENCE):
        length = int.from_bytes(await exactly(stream, 4), "big")
        return json.loads(await exactly(stream, length))


async def exactly(stream: ByteStream, count: int) -> bytes:
    """Read so many bytes."""
    found = b""
    with anyio.fail_after(PATIENCE):
        while len(found) < count:
            found += await stream.receive(count - len(found))
    return found


async def says(stream: ByteStream, text: bytes) -> None:
    """Send through an echo, and check that it comes back."""
    await stream.send(text)
    assert await exactly(stream, len(text)) == text


async def refusal(stream: ByteStream) -> str:
    """Read the manager's no, and the end after it; return its reason."""
    answer = await hear(stream)
    assert answer["command"] == "error"
    assert answer["data"]["error"] is True
    assert answer["data"]["error_type"] == "socket_error"
    await ends(stream)
    return str(answer["data"]["message"])


async def ends(stream: ByteStream) -> None:
    """Check that the connection ends without another word."""
    with anyio.fail_after(PATIENCE):
        try:
            assert await stream.receive() == b""
        except OVER:
            return


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.01)
