"""Packs a code folder into an archive for a backend. Never follows a link out of the folder.

Containers may have the folder, or what lies around it, mounted while it is read. So every folder
and file is opened by its name in a folder that is open already, and no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import Fault

#: Entries of one code folder; far above any real one, so that a wrong path is noticed early.
MOST_ENTRIES = 200_000
#: Folders in folders; each costs a descriptor.
MOST_DEPTH = 100
#: Bytes of all files; 1 GiB.
MOST_BYTES = 1024**3
#: Faults that are told of one folder.
MOST_FAULTS = 20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: Without O_NONBLOCK, a pipe that was swapped in would hold the reader up.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHANGED = "changed while it was read: try again when nothing writes to the folder"

Refusal = Callable[[Path], str | None]


def pack_code(
    folder: Path,
    archive: Path,
    *,
    limit: int = MOST_BYTES,
    refuse: Refusal = lambda _real: None,
) -> None:
    """Write a folder's files, folders and links into a new tar, with names relative to it.

    Links are stored as links. Owners are left to the backend. Blocking: call it in a thread.

    Args:
        limit: bytes of all files together.
        refuse: says why the folder may not be used; is given its real path once it is open.

    Raises:
        InvalidRequest: the folder is empty or too large, or holds what cannot be read or is no
            file, folder or link; up to 20 such entries are named.
    """
    with _opened(folder, refuse) as top, tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as t:
        packing = _Packing(t, limit)
        packing.add_entries(top, "", 0)
    if not packing.entries:
        packing.fault("the folder is empty")
    if packing.faults:
        raise InvalidRequest(packing.faults)


@contextmanager
def _opened(folder: Path, refuse: Refusal) -> Iterator[int]:
    try:
        top = os.open(folder, _FOLDER)
    except OSError as error:
        raise InvalidRequest([Fault("code_path", f"{folder}: {error.strerror}")]) from None
    try:
        if (told := refuse(_real_path(top, folder))) is not None:
            raise InvalidRequest([Fault("code_path", told)])
        yield top
    finally:
        os.close(top)


def _real_path(descriptor: int, path: Path) -> Path:
    """Where an open folder is; elsewhere than on Linux, where its name leads to now."""
    if sys.platform != "linux":
        return Path(os.path.realpath(path))
    return Path(f"/proc/self/fd/{descriptor}").readlink()


class _Packing:
    """One folder on its way into a tar."""

    def __init__(self, tar: tarfile.TarFile, limit: int) -> None:
        self._tar = tar
        self._limit = limit
        self._bytes = 0
        self.entries = 0
        self.faults: list[Fault] = []

    def fault(self, told: str) -> None:
        # A name need not be valid Unicode, but what is told of it goes out as such.
        self.faults.append(Fault("code_path", told.encode(errors="replace").decode()))

    def add_entries(self, folder: int, prefix: str, depth: int) -> None:
        """Add what an open folder holds."""
        if depth > MOST_DEPTH:
            return self.fault(f"{prefix} lies more than {MOST_DEPTH} folders deep")
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in islice(entries, MOST_ENTRIES + 1 - self.entries))
        self.entries += len(names)
        if self.entries > MOST_ENTRIES:
            return self.fault(f"holds more than {MOST_ENTRIES} entries")
        for name in names:
            if len(self.faults) >= MOST_FAULTS:
                return None
            self._try_entry(folder, name, prefix + name, depth)
        return None

    def _try_entry(self, folder: int, name: str, path: str, depth: int) -> None:
        try:
            self._add_entry(folder, name, path, depth)
        except (FileNotFoundError, NotADirectoryError):
            self.fault(f"{path} {_CHANGED}")

    def _add_entry(self, folder: int, name: str, path: str, depth: int) -> None:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            info = _info(path, tarfile.SYMTYPE, status)
            try:
                info.linkname = os.readlink(name, dir_fd=folder)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                return self.fault(f"{path} {_CHANGED}")  # it is no link any more
            self._store(info)
        elif stat.S_ISDIR(status.st_mode):
            with self._open(folder, name, path, _FOLDER | os.O_NOFOLLOW) as inner:
                if inner is not None:
                    self._store(_info(path, tarfile.DIRTYPE, os.fstat(inner)))
                    self.add_entries(inner, f"{path}/", depth + 1)
        elif stat.S_ISREG(status.st_mode):
            with self._open(folder, name, path, _FILE) as found:
                if found is not None:
                    self._add_file(found, path)
        else:
            self.fault(f"{path} is no file, folder or link")
        return None

    @contextmanager
    def _open(self, folder: int, name: str, path: str, flags: int) -> Iterator[int | None]:
        try:
            found = os.open(name, flags, dir_fd=folder)
        except OSError as error:
            self.fault(f"{path}: {error.strerror}")
            yield None
            return
        try:
            yield found
        finally:
            os.close(found)

    def _add_file(self, found: int, path: str) -> None:
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode):
            return self.fault(f"{path} {_CHANGED}")
        self._bytes += status.st_size
        if self._bytes > self._limit:
            return self.fault(f"holds more than {self._limit} bytes, with {path}")
        info = _info(path, tarfile.REGTYPE, status)
        info.size = status.st_size
        with open(found, "rb", closefd=False) as file:
            try:
                self._store(info, file)
            except OSError as error:
                if error.errno is not None:
                    raise
                self.fault(f"{path} {_CHANGED}")  # it has become shorter
        return None

    def _store(self, info: tarfile.TarInfo, file: IO[bytes] | None = None) -> None:
        self._tar.addfile(info, file)
        # It keeps a note of every entry, which nobody reads.
        self._tar.getmembers().clear()


def _info(path: str, kind: bytes, status: os.stat_result) -> tarfile.TarInfo:
    made = tarfile.TarInfo(path)
    made.type, made.mode = kind, stat.S_IMODE(status.st_mode)
    made.mtime = status.st_mtime
    return made
