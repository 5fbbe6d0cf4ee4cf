"""A container's folder as a tar, and a tar as such a folder. Blocking: call it in a thread.

Links are made last, so nothing is ever written through one; unlike those of an update's code they
may lead anywhere, as they are what the program itself has made.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from attrs import define, field

from flow_manager_core.contracts import PartSink, PartSource
from flow_manager_core.errors import EngineError, SystemFault
from flow_manager_process.store import CODE, NEW_CODE, OLD_CODE, mend_code, remove_tree

#: No set-user-id, no set-group-id: a program here has its manager's user.
PERMISSIONS = 0o1777
#: Bytes that are read at a time.
BUFFER = 256 * 1024


def write_tree(folder: Path, sink: PartSink) -> None:
    """Write the content of a container's folder, with owners, modes, times and links.

    Raises:
        SystemFault: something in it cannot be read.
    """
    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", sink), mode="w|", bufsize=BUFFER, format=tarfile.PAX_FORMAT
        ) as tar:
            for path, name in _entries(folder / CODE, ""):
                _add(tar, path, name)
                tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed
    except OSError as error:
        told = f"{error.strerror or error}: {error.filename or folder}"
        raise SystemFault(f"The container's files cannot be read: {told}") from error


def read_tree(folder: Path, source: PartSource) -> None:
    """Replace the content of a container's folder by what `write_tree` wrote.

    Raises:
        EngineError: it is something else.
    """
    fresh = folder / NEW_CODE
    remove_tree(fresh)
    fresh.mkdir(mode=0o700)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|", bufsize=BUFFER) as tar:
            _Tree(fresh).fill(tar)
    except (tarfile.TarError, FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        raise EngineError(f"The container's files cannot be written back: {error}") from error
    (folder / CODE).rename(folder / OLD_CODE)
    fresh.rename(folder / CODE)
    mend_code(folder)


def _entries(folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = prefix + entry.name
        yield entry.path, name
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), f"{name}/")


def _add(tar: tarfile.TarFile, path: str, name: str) -> None:
    """Sockets and devices stay out: they mean nothing without their process, or its rights."""
    mode = os.lstat(path).st_mode
    if stat.S_ISREG(mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            info = tar.gettarinfo(arcname=name, fileobj=file)
            tar.addfile(info, file if info.isreg() else None)
    elif stat.S_ISDIR(mode) or stat.S_ISFIFO(mode):
        tar.addfile(tar.gettarinfo(path, arcname=name))
    elif stat.S_ISLNK(mode):
        # A link with two names is written as two links.
        info = tar.gettarinfo(path, arcname=name)
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
        tar.addfile(info)


@define
class _Tree:
    """A new folder that no program knows yet."""

    root: Path
    _folders: list[tuple[Path, tarfile.TarInfo]] = field(factory=list)
    _links: list[tuple[Path, tarfile.TarInfo]] = field(factory=list)

    def fill(self, tar: tarfile.TarFile) -> None:
        """Write all that the archive holds."""
        for member in tar:
            if (name := _inside(member.name)) != ".":
                self._write(tar, member, self.root / name)
            tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed
        for path, member in self._links:
            path.symlink_to(member.linkname)
            _own(path, member)
        for path, member in reversed(self._folders):
            _finish(path, member)

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.isdir():
            path.mkdir(exist_ok=True)
            self._folders.append((path, member))
        elif member.issym():
            self._links.append((path, member))
        elif member.islnk():
            os.link(self.root / _inside(member.linkname), path, follow_symlinks=False)
        elif member.isfifo():
            os.mkfifo(path)
            _finish(path, member)
        elif member.isreg() and (content := tar.extractfile(member)) is not None:
            with content, path.open("xb") as file:
                shutil.copyfileobj(content, file, BUFFER)
            _finish(path, member)
        else:
            raise EngineError(f"The archive holds {member.name!r}, which is of an unknown kind")


def _finish(path: Path, member: tarfile.TarInfo) -> None:
    _own(path, member)
    path.chmod(member.mode & PERMISSIONS)
    os.utime(path, (member.mtime, member.mtime))


def _own(path: Path, member: tarfile.TarInfo) -> None:
    if os.geteuid() == 0:
        os.chown(path, member.uid, member.gid, follow_symlinks=False)


def _inside(name: str) -> str:
    plain = posixpath.normpath(name)
    if plain.startswith(("/", "../")) or plain == "..":
        raise EngineError(f"The archive's entry {name!r} leads out of the folder")
    return plain
