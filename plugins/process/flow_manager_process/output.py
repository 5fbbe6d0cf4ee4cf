"""Reads a container's recorded output, from its end. Blocking: call it in a thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

from flow_manager_core.models import LogLine
from flow_manager_process.records import moment

BLOCK = 64 * 1024
STREAMS: dict[bytes, Literal["stdout", "stderr"]] = {b"o": "stdout", b"e": "stderr"}


def read_output(folder: Path, tail: int | None, since: datetime | None) -> list[LogLine]:
    """Read the lines at or after `since`, the last `tail` of them, oldest first.

    Bytes that are not UTF-8 are shown as replacement characters.
    """
    found: list[LogLine] = []
    for raw in _newest_first(folder):
        if tail is not None and len(found) >= tail:
            break
        line = parse_line(raw)
        if line is None:
            continue
        if since is not None and line.timestamp < since:
            break
        found.append(line)
    return found[::-1]


def _newest_first(folder: Path) -> Iterator[bytes]:
    """Both files' lines; a file that was rotated in between is not read twice."""
    seen = set()
    for name in ("output.log", "output.1.log"):
        with suppress(FileNotFoundError), (folder / name).open("rb") as file:
            number = os.fstat(file.fileno()).st_ino
            if number not in seen:
                seen.add(number)
                yield from _lines_backwards(file)


def _lines_backwards(file: BinaryIO) -> Iterator[bytes]:
    position = file.seek(0, os.SEEK_END)
    rest = b""
    while position:
        size = min(BLOCK, position)
        position -= size
        file.seek(position)
        rest, *lines = (file.read(size) + rest).split(b"\n")
        yield from reversed(lines)
    yield rest


def parse_line(raw: bytes) -> LogLine | None:
    """Read one record; ``None`` for one that is torn: being written, or cut by a full disk."""
    at, _, rest = raw.partition(b" ")
    stream = STREAMS.get(rest[:1])
    if stream is None or not at.isdigit() or rest[1:2] != b" ":
        return None
    return LogLine(moment(int(at)), stream, rest[2:].decode(errors="replace"))
