"""Reads a backup, and believes none of it. Blocking: call it in worker threads."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from attrs import field, frozen

from flow_manager_core.backups.contents import check_part
from flow_manager_core.backups.gauge import Gauge
from flow_manager_core.backups.layout import (
    BLOCK,
    CHUNK,
    END,
    FORMAT,
    HEAD,
    LONGEST_TEXT,
    MANIFEST,
    PART,
    SUMS,
    padding,
    read_header,
    refused,
    sums_text,
)
from flow_manager_core.errors import SystemFault


class Window:
    """The bytes of one member, read from the front; a file to read from.

    Args:
        descriptor: of the archive; it stays the caller's.
    """

    def __init__(self, descriptor: int, start: int, size: int, gauge: Gauge) -> None:
        self._descriptor = descriptor
        self._start = start
        self._gauge = gauge
        self._digest = hashlib.sha256()
        self._at = 0
        self.size: int = size

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes, fewer at the end alone.

        Raises:
            InvalidRequest: the file ends before.
            SystemFault: the disk refuses.
            TransferStopped: nobody wants it any more.
        """
        left = self.size - self._at
        wanted = left if size < 0 else min(size, left)
        found = bytearray()
        while len(found) < wanted:
            found += self._some(min(CHUNK, wanted - len(found)))
        return bytes(found)

    def _some(self, size: int) -> bytes:
        with self._gauge.step():
            try:
                found = os.pread(self._descriptor, size, self._start + self._at)
            except OSError as error:
                raise SystemFault(f"The backup cannot be read: {error.strerror}") from error
        if not found:
            raise refused("the archive ends before its end: it was cut off")
        self._at += len(found)
        self._gauge.current += len(found)
        self._digest.update(found)
        return found

    def tell(self) -> int:
        """Bytes read so far."""
        return self._at

    def chunks(self) -> Iterator[bytes]:
        """Read the rest bit by bit."""
        while found := self.read(CHUNK):
            yield found

    def sha256(self) -> str:
        """Of all of it; the rest is read for that."""
        for _ in self.chunks():
            pass
        return self._digest.hexdigest()


@frozen
class Member:
    """Where a member's bytes are, and what they were when they were checked."""

    start: int
    size: int
    sha256: str
    entries: int = 0


@frozen
class Archive:
    """A backup that was found to be whole.

    Args:
        parts: by their names.
        manifest: JSON, not yet looked at.
    """

    manifest: Any
    parts: dict[str, Member] = field(factory=dict)
    size: int = 0


class ArchiveReader:
    """One archive, read from its beginning to its end.

    Args:
        descriptor: of a plain file; it stays the caller's.
        limit: bytes of the whole.
    """

    def __init__(self, descriptor: int, gauge: Gauge, *, limit: int) -> None:
        self._descriptor = descriptor
        self._gauge = gauge
        self._limit = limit
        self._at = 0
        self._sums: dict[str, str] = {}

    def verify(self) -> Archive:
        """Check every byte.

        Raises:
            InvalidRequest: it is no backup, of a later version, damaged, or holds what no backup
                holds; the message says which.
            SystemFault: the disk refuses.
        """
        size = os.fstat(self._descriptor).st_size
        if size > self._limit:
            raise refused(f"has {size} bytes, more than the setting backup_limit allows")
        self._gauge.enter("verify", size)
        self._check_head(size)
        parts: dict[str, Member] = {}
        while (found := PART.fullmatch(name := self._next())) and found[1] not in parts:
            parts[found[1]] = self._part(found[1])
        manifest = self._json(name, MANIFEST)
        told = sums_text(self._sums)
        self._check_name(self._next(), SUMS)
        if self._text(SUMS) != told:
            raise refused("the archive is damaged: its checksums do not fit its content")
        self._check_end(size)
        return Archive(manifest, parts, size)

    def _check_head(self, size: int) -> None:
        if self._raw(0, min(len(HEAD), size)) != HEAD.encode():
            raise refused("is no backup of Flow Manager")
        head = self._json(self._next(), HEAD)
        version = head.get("format") if isinstance(head, dict) else None
        if version != FORMAT or isinstance(version, bool):
            told = f"has the format {version!r}, and this manager knows the format {FORMAT} alone"
            raise refused(f"{told}: restore it with the version that made it")

    def _part(self, name: str) -> Member:
        start, size = self._at, self._size
        window = self._window()
        entries = check_part(name, window)
        return Member(start, size, self._done(f"parts/{name}.tar", window), entries)

    def _json(self, name: str, expected: str) -> Any:
        self._check_name(name, expected)
        try:
            return json.loads(self._text(name))
        except (ValueError, RecursionError):
            raise refused(f"the archive is damaged: {name} cannot be read") from None

    def _text(self, name: str) -> bytes:
        if self._size > LONGEST_TEXT:
            raise refused(f"the archive is damaged: {name} is too long")
        window = self._window()
        text = window.read()
        self._done(name, window)
        return text

    def _check_name(self, name: str, expected: str) -> None:
        if name != expected:
            raise refused(f"the archive holds {name!r} where {expected} must be")

    def _next(self) -> str:
        name, self._size = read_header(self._raw(self._at, BLOCK))
        self._at += BLOCK
        return name

    def _window(self) -> Window:
        return Window(self._descriptor, self._at, self._size, self._gauge)

    def _done(self, name: str, window: Window) -> str:
        self._sums[name] = window.sha256()
        self._at += window.size
        if any(self._raw(self._at, padding(window.size))):
            raise refused(f"the archive is damaged after {name}")
        self._at += padding(window.size)
        return self._sums[name]

    def _check_end(self, size: int) -> None:
        if self._raw(self._at, len(END)) != END:
            raise refused("the archive is damaged at its end")
        if size != self._at + len(END):
            raise refused("there is something after the archive's end")

    def _raw(self, start: int, size: int) -> bytes:
        return Window(self._descriptor, start, size, self._gauge).read()
