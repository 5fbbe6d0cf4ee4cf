"""Room on the disk for what ends or removes something, when there is none for anything else."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

NAME = "reserve"
#: Bytes that are set aside; some hundred stops and deletes.
RESERVE = 1024 * 1024
#: Pages of the log after which SQLite brings it into the file; as many bytes as by default.
CHECKPOINT = 500


class Reserve:
    """A file beside the journal that is given up when the disk is full, and made again.

    Until it is there again nothing but what is urgent is written: it would use up the room of the
    rest. The log is not brought into the file meanwhile, which would grow with it, unless there is
    room for all of that; then the log gives its own room back. All of it blocks.

    Args:
        path: of the reserve.
        log: of the journal's write-ahead log.
    """

    def __init__(self, path: Path, log: Path) -> None:
        self._path = path
        self._log = log
        self._missing = True

    def set_aside(self, base: sqlite3.Connection) -> None:
        """Make it if it is not there; a disk that is full already is no reason not to start."""
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
            if not self.made_room(base):
                raise
            self._fill()
        self._missing = False
        base.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT}")

    def spent(self, base: sqlite3.Connection) -> bool:
        """Give it up; false: it was given up before."""
        if not self._path.exists():
            return False
        base.execute("PRAGMA wal_autocheckpoint=0")
        self._missing = True
        self._path.unlink()
        return True

    def made_room(self, base: sqlite3.Connection) -> bool:
        """Bring the log into the file, and cut it off, if there is room for that."""
        disk = os.statvfs(self._path.parent)
        size = self._log.stat().st_size if self._log.exists() else 0
        if not 0 < size <= disk.f_bavail * disk.f_frsize:
            return False
        busy, *_ = base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

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
