"""Follows a container's recorded output. Blocking: call its methods in a thread, one at a time."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from flow_manager_core.models import LogLine
from flow_manager_process.output import parse_line

#: Bytes that are read at once.
CHUNK = 256 * 1024
#: The files of the output, older first.
OLDER, NEWER = "output.1.log", "output.log"


class OutputTail:
    """Reads from the older file on, and through every rotation.

    Args:
        folder: the container's.
        since: earlier lines are left out.
    """

    def __init__(self, folder: Path, since: datetime | None) -> None:
        self._folder = folder
        self._since = since
        self._file: BinaryIO | None = None
        self._rest = b""

    def read(self) -> list[LogLine]:
        """The next lines; empty when there are no more for now."""
        while True:
            if self._file is None and not self._open_next():
                return []
            assert self._file is not None
            chunk = self._file.read(CHUNK)
            if chunk:
                if found := self._lines(chunk):
                    return found
            elif not self._rotated() or not self._open_next():
                return []

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lines(self, chunk: bytes) -> list[LogLine]:
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        parsed = [line for raw in whole if (line := parse_line(raw)) is not None]
        return [line for line in parsed if self._since is None or line.timestamp >= self._since]

    def _rotated(self) -> bool:
        """Whether the file that was read to its end is no longer the newer one."""
        assert self._file is not None
        try:
            newest = os.stat(self._folder / NEWER).st_ino
        except FileNotFoundError:
            return False
        return os.fstat(self._file.fileno()).st_ino != newest

    def _open_next(self) -> bool:
        first, self._rest = self._file is None, b""
        self.close()
        for name in (OLDER, NEWER) if first else (NEWER,):
            with suppress(FileNotFoundError):
                self._file = (self._folder / name).open("rb")
                return True
        return False
