"""Where backups stand: files below one folder, reached by descriptors, never through a link.

Blocking: call it in worker threads.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from attrs import frozen

from flow_manager_core.backups.layout import refused
from flow_manager_core.errors import FlowManagerError, InvalidRequest, SystemFault
from flow_manager_core.models import Fault

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@frozen
class BackupFile:
    """One backup's place.

    Args:
        root: the operator's folder.
        name: relative to it, in its shortest form.
    """

    root: Path
    name: PurePosixPath

    @classmethod
    def of(cls, root: Path, path: str) -> BackupFile:
        """Read what a client wrote: relative to the folder, or absolute and below it.

        Raises:
            InvalidRequest: it lies elsewhere, or names no file.
        """
        pure = PurePosixPath(path)
        if pure.is_absolute():
            if not pure.is_relative_to(root):
                raise _fault(f"lies outside the folder for backups, {root}")
            pure = pure.relative_to(root)
        if not pure.parts or path.endswith("/"):
            raise _fault("names no file")
        if any(part == ".." or part.startswith(".") for part in pure.parts):
            raise _fault("must not have a part that begins with a dot")
        return cls(root, pure)

    @property
    def path(self) -> str:
        """As clients are shown it."""
        return str(self.root / self.name)

    @contextmanager
    def written(self, key: str, *, overwrite: bool) -> Iterator[BackupDraft]:
        """Have a new file beside its place, which is gone afterwards unless it was put there.

        Args:
            key: names the draft, so that a later life finds it.

        Raises:
            InvalidRequest: there is a backup of that name, and it is not to be overwritten.
            SystemFault: the disk refuses.
        """
        with _named(), self._folder(make=True) as folder:
            self._check_free(folder, overwrite)
            draft = f".{key}.part"
            _remove(folder, draft)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(draft, flags, 0o600, dir_fd=folder)
            try:
                yield BackupDraft(descriptor, folder, draft, self.name.name, overwrite)
            finally:
                os.close(descriptor)
                _remove(folder, draft)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Give a descriptor to read it.

        Raises:
            InvalidRequest: there is no such file, or it is no plain one.
            SystemFault: the disk refuses.
        """
        with _named(), self._folder(make=False) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self.name.name, flags, dir_fd=folder)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise refused("is no plain file")
                yield descriptor
            finally:
                os.close(descriptor)

    def clear(self, key: str) -> None:
        """Take away the draft of a backup that nobody finished.

        Raises:
            SystemFault: the disk refuses.
        """
        with suppress(InvalidRequest), _named(), self._folder(make=False) as folder:
            _remove(folder, f".{key}.part")

    def _check_free(self, folder: int, overwrite: bool) -> None:
        try:
            there = os.stat(self.name.name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(there.st_mode):
            raise _fault("is a folder")
        if not overwrite:
            raise _taken()

    @contextmanager
    def _folder(self, *, make: bool) -> Iterator[int]:
        """Walk to the file's folder, one name at a time."""
        if make:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The operator's own folder may be reached as the operator likes.
        descriptor = os.open(self.root, _FOLDER & ~os.O_NOFOLLOW)
        try:
            for name in self.name.parts[:-1]:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=descriptor)
                inner = os.open(name, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


@frozen
class BackupDraft:
    """A backup that is being written.

    Args:
        descriptor: of the new file, for its owner alone.
    """

    descriptor: int
    _folder: int
    _draft: str
    _name: str
    _overwrite: bool

    def put(self) -> None:
        """Put it in its place, at once and for good.

        Raises:
            InvalidRequest: meanwhile there is one of that name.
            SystemFault: the disk refuses.
        """
        with _named():
            if self._overwrite:
                os.rename(self._draft, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            else:
                try:
                    os.link(
                        self._draft, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder
                    )
                except FileExistsError:
                    raise _taken() from None
            os.fsync(self._folder)


@contextmanager
def _named() -> Iterator[None]:
    """Name what the host refuses."""
    try:
        yield
    except FlowManagerError:
        raise
    except FileNotFoundError:
        raise _fault("does not exist") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _fault("leads through a link, or through what is no folder") from None
        raise SystemFault(f"The folder for backups cannot be used: {error.strerror}") from error


def _remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _fault(told: str) -> InvalidRequest:
    return InvalidRequest([Fault("path", told)])


def _taken() -> InvalidRequest:
    return InvalidRequest(
        [Fault("path", "exists already")], hint="Use another name, or send overwrite: true"
    )
