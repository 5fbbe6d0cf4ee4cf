"""A two-way byte pipe in memory that behaves as a connected pair of sockets does."""

from __future__ import annotations

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

#: Pieces that may wait unread in one direction; the sender waits while there are as many.
DEPTH = 16
#: Bytes of one piece: with `DEPTH` about what Linux keeps for a socket that is not read.
PIECE = 8192


class MemoryByteStream(ByteStream):
    """One end of a pipe. One reader and one writer at a time."""

    def __init__(
        self, send: MemoryObjectSendStream[bytes], receive: MemoryObjectReceiveStream[bytes]
    ) -> None:
        self._send = send
        self._receive = receive
        self._rest = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has arrived, at least one byte, or raise as sockets' streams do."""
        piece = self._rest or await self._receive.receive()
        self._rest = piece[max_bytes:]
        return piece[:max_bytes]

    async def send(self, item: bytes) -> None:
        """Hand all bytes over; waits while the other end has too much unread."""
        for start in range(0, len(item), PIECE):
            await self._send.send(item[start : start + PIECE])

    async def send_eof(self) -> None:
        """End this end's part; the other may go on."""
        await self._send.aclose()

    async def aclose(self) -> None:
        """Close at once."""
        self._send.close()
        self._receive.close()
        await anyio.lowlevel.checkpoint()


def memory_pipe() -> tuple[MemoryByteStream, MemoryByteStream]:
    """Make both ends of a new pipe."""
    send_there, receive_there = anyio.create_memory_object_stream[bytes](DEPTH)
    send_back, receive_back = anyio.create_memory_object_stream[bytes](DEPTH)
    return MemoryByteStream(send_there, receive_back), MemoryByteStream(send_back, receive_there)
