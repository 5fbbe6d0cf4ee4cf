"""The log's file: never reached over a link, never somebody else's, and never a reason to stop."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: Rights of a new file. One that is there keeps its own, as the operator chose them.
PRIVATE = 0o600
#: The ending of a file that is about to take the full one's place.
FRESH = ".new"
#: What nobody else has in any case: who writes to the file can forge the log.
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
#: Not blocking: a pipe that stands there must not hold the service.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class UnsafeLogFile(OSError):
    """What stands in the file's place is not to be written to; the text says why."""


class LogFile(logging.Handler):
    """Appends lines to a file, and begins a new one when that is full.

    The folder is opened once: whoever moves it, or puts links into it, changes nothing. Lines that
    cannot be written are dropped and counted, and the first of them is told elsewhere.

    Args:
        size: bytes of one file.
        kept: how many older ones stay, as ``<name>.1`` and so on.
        tell: told once when lines begin to be lost, and once when they are written again.

    Raises:
        UnsafeLogFile: the file is a link, no plain file, somebody else's, or has a second name.
        OSError: it cannot be made or opened.
    """

    def __init__(self, path: Path, size: int, kept: int, tell: Callable[[str, str], None]) -> None:
        super().__init__()
        self._path = path
        self._size = size
        self._kept = kept
        self._tell = tell
        self._lost = 0
        self._folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._file = self._open()
        except BaseException:
            os.close(self._folder)
            raise

    def _open(self) -> int:
        if self._is_link():
            raise UnsafeLogFile("is a link, and links are not followed")
        descriptor = os.open(self._path.name, _FLAGS, PRIVATE, dir_fd=self._folder)
        try:
            found = os.fstat(descriptor)
            if wrong := _wrong(found):
                raise UnsafeLogFile(wrong)
            if found.st_mode & WRITABLE_BY_OTHERS:
                os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~WRITABLE_BY_OTHERS)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _is_link(self) -> bool:
        """For the message alone: the system calls it a loop, and refuses it all the same."""
        with suppress(FileNotFoundError):
            found = os.stat(self._path.name, dir_fd=self._folder, follow_symlinks=False)
            return stat.S_ISLNK(found.st_mode)
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line whole or not at all."""
        data = f"{self.format(record)}\n".encode(errors="backslashreplace")
        try:
            self._make_room(len(data))
            self._write(data)
        except OSError as error:
            self._lose(error)
        else:
            self._recovered()

    def _write(self, data: bytes) -> None:
        before = os.fstat(self._file).st_size
        written = os.write(self._file, data)
        if written < len(data):
            # A disk that is nearly full takes a part. It goes, unless somebody wrote after it.
            if os.fstat(self._file).st_size == before + written:
                os.ftruncate(self._file, before)
            raise OSError(f"only {written} of {len(data)} bytes were taken")

    def _make_room(self, needed: int) -> None:
        found = os.fstat(self._file)
        if not found.st_size or found.st_size + needed <= self._size:
            return
        # First, so that a disk without room for a new file costs none of the old ones.
        fresh = self._open_fresh(stat.S_IMODE(found.st_mode))
        try:
            self._shift()
        except OSError:
            os.close(fresh)
            raise
        os.close(self._file)
        self._file = fresh

    def _shift(self) -> None:
        name = self._path.name
        for number in reversed(range(self._kept)):
            self._rename(f"{name}.{number}" if number else name, f"{name}.{number + 1}")
        self._rename(f"{name}{FRESH}", name)

    def _open_fresh(self, rights: int) -> int:
        name = f"{self._path.name}{FRESH}"
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._folder)
        descriptor = os.open(name, _FLAGS | os.O_EXCL, PRIVATE, dir_fd=self._folder)
        os.fchmod(descriptor, rights)
        return descriptor

    def _rename(self, source: str, target: str) -> None:
        """A link in a name's place is moved or replaced itself."""
        with suppress(FileNotFoundError):
            os.rename(source, target, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _lose(self, error: OSError) -> None:
        self._lost += 1
        if self._lost == 1:
            self._tell("The log file cannot be written", f"{self._path}: {error}")

    def _recovered(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            self._tell("The log file is written again", f"{lost} lines are missing in it")

    def close(self) -> None:
        """Close file and folder."""
        os.close(self._file)
        os.close(self._folder)
        super().close()


def _wrong(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "is no plain file"
    if found.st_uid != os.geteuid():
        return f"belongs to another user (uid {found.st_uid})"
    return "has a second name (a hard link) elsewhere" if found.st_nlink != 1 else ""
