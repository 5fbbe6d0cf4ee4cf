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
            if self._file is None and not self._open(OLDER) and not self._open(NEWER):
                return []
            assert self._file is not None
            following = self._following()  # before the last read: nothing is written after that
            chunk = self._file.read(CHUNK)
            if chunk:
                if found := self._lines(chunk):
                    return found
            elif following is None or not self._open(following):
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

    def _following(self) -> str | None:
        """The file that comes after this one; ``None`` while this one is the newer."""
        assert self._file is not None
        number = os.fstat(self._file.fileno()).st_ino
        newest, older = self._number(NEWER), self._number(OLDER)
        if newest is None or newest == number:
            return None
        # One that was rotated twice while it was read is gone, and the older one comes after it.
        return NEWER if older is None or older == number else OLDER

    def _number(self, name: str) -> int | None:
        with suppress(FileNotFoundError):
            return os.stat(self._folder / name).st_ino
        return None

    def _open(self, name: str) -> bool:
        with suppress(FileNotFoundError):
            file = (self._folder / name).open("rb")
            self._rest = b""
            self.close()
            self._file = file
            return True
        return False
