"""Just enough of HTTP/1.1 to pass it on unchanged: where heads and bodies begin and end."""

from __future__ import annotations

from asyncio import IncompleteReadError, StreamReader
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

from attrs import frozen

#: Bytes read at a time of a body that is no chunk.
PIECE = 64 * 1024

BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


@frozen
class Head:
    """A request's or an answer's first lines.

    Args:
        raw: as they came.
        start: the first of them.
        headers: by their names in small letters.
    """

    raw: bytes
    start: str
    headers: Mapping[str, str]

    @property
    def method(self) -> str:
        """Of a request."""
        return self.start.split(" ")[0]

    @property
    def path(self) -> str:
        """Of a request, with its query."""
        return self.start.split(" ")[1]

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start.split(" ")[1])

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def length(self) -> int | None:
        """The body's bytes, where the head says so."""
        told = self.headers.get("content-length")
        return None if told is None else int(told)

    @property
    def closes(self) -> bool:
        """Whether the connection ends with this message."""
        return self.headers.get("connection", "").lower() == "close"

    def open_ended(self, method: str) -> bool:
        """Whether an answer lasts as long as the connection: a stream, or another protocol."""
        if self.status == HTTPStatus.SWITCHING_PROTOCOLS:
            return True
        return self.has_body(method) and not self.chunked and self.length is None

    def has_body(self, method: str) -> bool:
        """Whether an answer to a request of this method has a body."""
        final = self.status >= HTTPStatus.OK
        return final and method != "HEAD" and self.status not in BODILESS


async def read_head(reader: StreamReader) -> Head | None:
    """Read a head; ``None`` where the connection ends between two messages."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    start, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Head(raw, start, {name.lower(): value.strip() for name, _, value in pairs})


async def read_body(head: Head, reader: StreamReader) -> AsyncIterator[bytes]:
    """Yield a body in pieces as they stand on the wire; each chunk is a whole piece."""
    if head.chunked:
        async for piece in _chunks(reader):
            yield piece
        return
    left = head.length or 0
    while left:
        piece = await reader.read(min(left, PIECE))
        if not piece:
            raise IncompleteReadError(b"", left)
        left -= len(piece)
        yield piece


async def _chunks(reader: StreamReader) -> AsyncIterator[bytes]:
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
                line += trailer
            yield line + b"\r\n"
            return
        yield line + await reader.readexactly(size + 2)
