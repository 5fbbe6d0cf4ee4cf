"""Writes a backup, member by member, in one go. Blocking: call it in worker threads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from flow_manager_core.backups.gauge import Gauge
from flow_manager_core.backups.layout import END, SUMS, header, padding, sums_text
from flow_manager_core.errors import SystemFault


@frozen
class Written:
    """A member as it was written; `size` in bytes, `sha256` in hexadecimal."""

    size: int
    sha256: str


class PartWriter:
    """Takes the bytes of one member; a `PartSink`.

    Args:
        name: of the member.
        start: where its header is.
    """

    def __init__(self, archive: ArchiveWriter, name: str, start: int) -> None:
        self._archive = archive
        self._digest = hashlib.sha256()
        self.name = name
        self.start = start
        self.size: int = 0

    def write(self, data: bytes) -> int:
        """Write more of it.

        Raises:
            SystemFault: the disk refuses, or the backup grows over the operator's limit.
            TransferStopped: nobody wants it any more.
        """
        self._archive.append(data)
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    def written(self) -> Written:
        """What it has become."""
        return Written(self.size, self._digest.hexdigest())


class ArchiveWriter:
    """One new archive.

    Args:
        descriptor: of an empty file; it stays the caller's.
        made: seconds since the epoch, the time of all members.
        limit: bytes of the whole.
    """

    def __init__(self, descriptor: int, gauge: Gauge, *, made: int, limit: int) -> None:
        self._descriptor = descriptor
        self._gauge = gauge
        self._made = made
        self._limit = limit
        self._end = 0
        self._sums: dict[str, str] = {}

    def append(self, data: bytes) -> None:
        """Write at the end; see `PartWriter.write`."""
        if self._end + len(data) > self._limit:
            raise SystemFault(
                f"The backup grows over {self._limit} bytes",
                hint="Raise the setting backup_limit, or leave parts out with exclude",
            )
        self._write(data, self._end)
        self._end += len(data)
        self._gauge.current += len(data)

    def add(self, name: str, content: bytes) -> None:
        """Write a member that is in memory."""
        part = self.begin(name)
        part.write(content)
        self.end(part)

    def begin(self, name: str) -> PartWriter:
        """Begin a member; what is written next is its content."""
        start = self._end
        self.append(header(name, 0, self._made))
        return PartWriter(self, name, start)

    def end(self, part: PartWriter) -> Written:
        """End a member: its header is written again, now that its size is known."""
        self.append(bytes(padding(part.size)))
        self._write(header(part.name, part.size, self._made), part.start)
        written = part.written()
        self._sums[part.name] = written.sha256
        return written

    def finish(self) -> int:
        """Write the sums and the end, have all of it on disk; return its size in bytes."""
        self.add(SUMS, sums_text(self._sums))
        self.append(END)
        with self._gauge.step(), told_of():
            os.fsync(self._descriptor)
        return self._end

    def _write(self, data: bytes, at: int) -> None:
        left = memoryview(data)
        while left:
            with self._gauge.step(), told_of():
                done = os.pwrite(self._descriptor, left, at)
            left, at = left[done:], at + done


@contextmanager
def told_of() -> Iterator[None]:
    """Name what the disk refuses.

    Raises:
        SystemFault: it refuses.
    """
    try:
        yield
    except OSError as error:
        raise SystemFault(f"The backup cannot be written: {error.strerror}") from error
