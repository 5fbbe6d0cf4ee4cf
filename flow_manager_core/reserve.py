"""Room on the disk for what ends or removes something, when there is none for anything else."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

#: Bytes that are set aside; some hundred stops and deletes.
RESERVE = 1024 * 1024


class Reserve:
    """A file that is given up when the disk is full, and made again as soon as that is possible.

    Until then nothing but what is urgent is written: it would use up the room of the rest.
    All of it blocks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._missing = True

    def set_aside(self, base: sqlite3.Connection) -> None:
        """Make it if it is not there; a disk that is full already is no reason not to start.

        Args:
            base: the file beside it, whose log is brought in if the room is needed.
        """
        try:
            self.require(base)
        except OSError:
            return

    def require(self, base: sqlite3.Connection) -> None:
        """See that it is there.

        Raises:
            OSError: the disk is full.
        """
        if not self._missing:
            return
        try:
            self._fill()
        except OSError:
            base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._fill()
        self._missing = False

    def spent(self) -> bool:
        """Give it up; false: it was given up before."""
        if not self._path.exists():
            return False
        self._missing = True
        self._path.unlink()
        return True

    def _fill(self) -> None:
        if self._path.exists() and self._path.stat().st_size >= RESERVE:
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE)
        except OSError:
            self._path.unlink()
            raise
        finally:
            os.close(descriptor)
