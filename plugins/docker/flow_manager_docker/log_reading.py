"""From the engine's framed log stream to lines, within bounds. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

from attrs import define, field, frozen

from flow_manager_core.models import LogLine
from flow_manager_docker.dialects import Dialect

#: One byte for the stream, three unused, four for the length:
#: "Stream format" of ``POST /containers/{id}/attach`` in the Engine API's reference.
HEADER = 8
STDERR = 2

LINE_LIMIT = 64 * 1024
LINES_LIMIT = 10_000
TOTAL_LIMIT = 8 * 1024 * 1024

#: Entries asked for beyond the tail: the engine splits long lines into several entries of 16 KiB,
#: and may write entries of the two streams a little out of order.
SPARE = 64


@frozen
class _Line:
    at: bytes
    stderr: bool
    content: bytes

    def told(self) -> LogLine:
        stream: Literal["stdout", "stderr"] = "stderr" if self.stderr else "stdout"
        when = datetime.fromisoformat(self.at.decode())
        return LogLine(when, stream, self.content.decode(errors="replace"))


@define
class _Piece:
    """A line whose end has not come yet."""

    at: bytes
    content: bytearray = field(factory=bytearray)


def frames(chunks: Iterable[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Cut the stream into entries; the first item tells whether it is of the error stream."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= HEADER:
            end = HEADER + int.from_bytes(buffer[4:HEADER], "big")
            if len(buffer) < end:
                break
            yield buffer[0] == STDERR, bytes(buffer[HEADER:end])
            del buffer[:end]


class LogCollector:
    """Joins entries into lines and keeps the newest, within the limits of this module."""

    def __init__(self) -> None:
        self._lines: deque[_Line] = deque()
        self._total = 0
        self._pieces: dict[bool, _Piece] = {}

    def add(self, stderr: bool, entry: bytes) -> None:
        """Take an entry: a time, a space, and a line or a piece of one."""
        at, _, content = entry.partition(b" ")
        # The pieces of one line bear one time; else it is what a run said last, with no line's end.
        if stderr in self._pieces and self._pieces[stderr].at != at:
            self._finish(stderr)
        piece = self._pieces.setdefault(stderr, _Piece(at))
        piece.content += content[: LINE_LIMIT - len(piece.content)]
        if content.endswith(b"\n"):
            self._finish(stderr)

    def _finish(self, stderr: bool) -> None:
        piece = self._pieces.pop(stderr)
        line = _Line(piece.at, stderr, bytes(piece.content).removesuffix(b"\n"))
        self._lines.append(line)
        self._total += len(line.content)
        while self._total > TOTAL_LIMIT or len(self._lines) > LINES_LIMIT + SPARE:
            self._total -= len(self._lines.popleft().content)

    def take(self) -> list[LogLine]:
        """Give away the lines that are finished, in the order in which they came."""
        found = [line.told() for line in self._lines]
        self._lines.clear()
        self._total = 0
        return found

    def lines(self, tail: int) -> list[LogLine]:
        """The last `tail` lines, oldest first."""
        for stderr in tuple(self._pieces):
            self._finish(stderr)
        # The engine's times are of one width, so their text orders them to the nanosecond.
        ordered = sorted(self._lines, key=lambda line: line.at)
        return [line.told() for line in ordered[max(0, len(ordered) - tail) :]]


def bounded_tail(tail: int | None) -> int:
    """How many lines are given at most."""
    return LINES_LIMIT if tail is None else min(tail, LINES_LIMIT)


def read_lines(chunks: Iterable[bytes], tail: int) -> list[LogLine]:
    """Read the whole stream; give its last `tail` lines."""
    collector = LogCollector()
    for stderr, entry in frames(chunks):
        collector.add(stderr, entry)
    return collector.lines(tail)


def log_parameters(tail: int, since: datetime | None, dialect: Dialect) -> dict[str, str]:
    """The query of ``GET /containers/{id}/logs``."""
    wanted = str(tail + SPARE) if dialect.tails else "all"
    query = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": wanted}
    if since is not None:
        query["since"] = f"{since.timestamp():.6f}"
    return query


def follow_parameters(since: datetime | None) -> dict[str, str]:
    """The query of ``GET /containers/{id}/logs`` that goes on; without `since` from now on."""
    query = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1"}
    if since is None:
        return {**query, "tail": "0"}
    return {**query, "since": f"{since.timestamp():.6f}"}
