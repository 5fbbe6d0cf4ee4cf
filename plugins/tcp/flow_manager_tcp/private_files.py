"""Small files that are ours alone: whole or not there, and never reached over a link."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Bytes of a file that are read; ours have far fewer.
LIMIT = 1024
#: A file on its way to its name; no name that is asked for ends like it.
ASIDE = ".aside"
_OURS_ALONE = stat.S_IRWXG | stat.S_IRWXO


class Unsafe(Exception):
    """Something stands in the folder that cannot be trusted; the text names it."""


class PrivateFiles:
    """A folder with mode 0700 and its files with mode 0600. Blocking: call it in a worker thread.

    Whoever can write to the folder's parent, the manager's own state folder, is trusted.

    Args:
        path: of the folder, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the folder if need be, and clear away what a killed manager was writing.

        Raises:
            Unsafe: a link, or somebody else's folder, stands in its place.
            OSError: it cannot be made.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        with self._opened() as folder:
            for name in _names(folder):
                if name.endswith(ASIDE):
                    os.unlink(name, dir_fd=folder)

    def names(self) -> list[str]:
        """The names of all that is there.

        Raises:
            Unsafe, OSError: the folder cannot be used.
        """
        with self._opened() as folder:
            return sorted(_names(folder))

    def read(self, name: str) -> str | None:
        """Read a file; ``None`` when there is none.

        Raises:
            Unsafe: it is no plain file of ours that nobody else may use.
            OSError: it cannot be read.
        """
        with self._opened() as folder:
            try:
                # Not blocking: a pipe that stands there must not hold the thread.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(name, flags, dir_fd=folder)
            except FileNotFoundError:
                return None
            except OSError as error:
                told = f"{self.path / name} cannot be opened, or is a link: {error.strerror}"
                raise Unsafe(told) from None
            try:
                self._check(self.path / name, os.fstat(descriptor), stat.S_IFREG)
                return os.read(descriptor, LIMIT).decode("ascii", "replace").strip()
            finally:
                os.close(descriptor)

    def write(self, name: str, text: str) -> None:
        """Put a file in place; it is on the disk once this returns.

        Raises:
            Unsafe, OSError: it cannot be written.
        """
        aside = secrets.token_hex(8) + ASIDE
        with self._opened() as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            try:
                with os.fdopen(os.open(aside, flags, 0o600, dir_fd=folder), "w") as file:
                    file.write(text + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(aside, dir_fd=folder)
                raise
            os.fsync(folder)

    def remove(self, name: str) -> None:
        """Take a file away, if it is there.

        Raises:
            Unsafe, OSError: it cannot be removed.
        """
        with suppress(FileNotFoundError), self._opened() as folder:
            os.unlink(name, dir_fd=folder)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            folder = os.open(self.path, flags)
        except NotADirectoryError:
            raise Unsafe(f"{self.path} is a link, or no folder") from None
        try:
            self._check(self.path, os.fstat(folder), stat.S_IFDIR)
            yield folder
        finally:
            os.close(folder)

    @staticmethod
    def _check(path: Path, status: os.stat_result, kind: int) -> None:
        if stat.S_IFMT(status.st_mode) != kind:
            raise Unsafe(f"{path} is not what belongs there")
        if status.st_uid != os.geteuid():
            raise Unsafe(f"{path} belongs to another user (uid {status.st_uid})")
        if status.st_mode & _OURS_ALONE:
            raise Unsafe(f"{path} is open to other users: take that right from them")


def _names(folder: int) -> list[str]:
    return os.listdir(folder)  # by its descriptor, which a Path cannot hold
