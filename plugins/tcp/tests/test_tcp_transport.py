"""TCP does what every transport must."""

from __future__ import annotations

import json
import socket

import anyio
from anyio.abc import ByteStream

from flow_manager_core.models import Attachment
from flow_manager_core.socket_stream import SocketStream
from flow_manager_core.testing.transport_suite import TransportSuite
from flow_manager_tcp import PROVIDER, TcpSettings


class TestTcpTransport(TransportSuite):
    provider = PROVIDER
    settings = TcpSettings(port=0)

    async def connect(self, attachment: Attachment) -> ByteStream:
        variables = attachment.environment
        host, _, port = variables["FLOW_SOCKET"].removeprefix("tcp://").rpartition(":")
        stream = SocketStream(socket.create_connection((host, int(port))))
        auth = {"command": "auth", "data": {"secret": variables["FLOW_SECRET"]}}
        body = json.dumps(auth).encode()
        try:
            await stream.send(len(body).to_bytes(4, "big") + body)
            length = int.from_bytes(await exactly(stream, 4), "big")
            answer = json.loads(await exactly(stream, length))
        except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
            await stream.aclose()
            raise ConnectionResetError("closed without a word") from error
        if answer["command"] != "welcome":
            await stream.aclose()
            raise ConnectionRefusedError(answer["data"]["message"])
        return stream


async def exactly(stream: ByteStream, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += await stream.receive(count - len(found))
    return found
