"""The one folder that all sockets stand below: ours alone, and reached without trusting a link.

``/tmp`` is everyone's. In a folder that everyone may write to, whoever comes first can put a link
or a folder of their own where ours should be; so what stands in such a folder must be a real one,
owned by us, that nobody else can write to.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define

#: As many links as Linux itself follows in one path.
MOST_LINKS = 40
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Unsafe(Exception):
    """Something stands in the path that cannot be trusted; the text names it."""


@contextmanager
def private_folder(path: Path, *, create: bool) -> Iterator[int]:
    """Open the folder, and give a descriptor that is good within the context.

    Args:
        path: absolute.
        create: make what is missing of it, with mode 0700.

    Raises:
        Unsafe: a part of the path is a link or somebody else's, or others may use the folder.
        OSError: it cannot be made or opened.
    """
    looking = _walk(path, create=create)
    try:
        _check_private(looking, path)
        folder = os.open(f"/proc/self/fd/{looking}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(looking)
    try:
        yield folder
    finally:
        os.close(folder)


def folder_fault(path: Path) -> str | None:
    """Say why the folder could not be used; ``None`` when it could, or can be made. Looks alone.

    Raises:
        OSError: a part of the path cannot be looked at.
    """
    try:
        looking = _walk(path, create=False)
    except Unsafe as error:
        return str(error)
    except FileNotFoundError:
        return None
    try:
        _check_owner(looking, path)
        if _is_open(looking) and not _mendable(looking):
            return _told_open(path)
    except Unsafe as error:
        return str(error)
    finally:
        os.close(looking)
    return None


def _walk(path: Path, *, create: bool) -> int:
    for _ in range(MOST_LINKS):
        step = _Step(os.open("/", _LOOK), Path("/"), exposed=False)
        try:
            target = _descend(step, path, create=create)
        except BaseException:
            os.close(step.descriptor)
            raise
        if target is None:
            return step.descriptor
        os.close(step.descriptor)
        path = target
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


@define
class _Step:
    """How far a walk has come: an open folder, and whether everyone may write to it."""

    descriptor: int
    path: Path
    exposed: bool

    def enter(self, found: int, path: Path) -> None:
        os.close(self.descriptor)
        self.descriptor = os.dup(found)
        self.path = path
        self.exposed = bool(os.fstat(found).st_mode & stat.S_IWOTH)


def _descend(step: _Step, path: Path, *, create: bool) -> Path | None:
    """Walk to the path's end; or return the path to walk instead, when a trusted link is met."""
    names = path.parts[1:]
    for index, name in enumerate(names):
        if create:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=step.descriptor)
        found = os.open(name, _LOOK, dir_fd=step.descriptor)
        try:
            status = os.fstat(found)
            if stat.S_ISLNK(status.st_mode):
                rest = names[index + 1 :]
                return _target(step, name, last=not rest).joinpath(*rest)
            _check_part(step, name, status)
            step.enter(found, step.path / name)
        finally:
            os.close(found)
    return None


def _target(step: _Step, name: str, *, last: bool) -> Path:
    if step.exposed or last:
        raise Unsafe(f"{step.path / name} is a link; a real folder is needed there")
    return step.path / os.readlink(name, dir_fd=step.descriptor)


def _check_part(step: _Step, name: str, status: os.stat_result) -> None:
    path = step.path / name
    if not stat.S_ISDIR(status.st_mode):
        raise Unsafe(f"{path} is no folder")
    if not step.exposed:
        return
    if status.st_uid != os.geteuid():
        raise Unsafe(f"{path} belongs to another user (uid {status.st_uid})")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unsafe(f"{path} can be written to by other users: take that right from them")


def _check_private(folder: int, path: Path) -> None:
    _check_owner(folder, path)
    if not _is_open(folder):
        return
    if not _mendable(folder):
        raise Unsafe(_told_open(path))
    os.chmod(f"/proc/self/fd/{folder}", 0o700)


def _check_owner(folder: int, path: Path) -> None:
    status = os.fstat(folder)
    if status.st_uid != os.geteuid():
        raise Unsafe(f"{path} belongs to another user (uid {status.st_uid})")


def _is_open(folder: int) -> bool:
    return bool(os.fstat(folder).st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _mendable(folder: int) -> bool:
    """Whether nobody can have put anything there: others may not write, and it is empty."""
    exposed = os.fstat(folder).st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not exposed and not os.listdir(f"/proc/self/fd/{folder}")


def _told_open(path: Path) -> str:
    return f"{path} is open to other users: make its mode 0700, or choose another folder"
