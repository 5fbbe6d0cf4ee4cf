"""Packs a code folder into an archive for a backend. Never follows a link out of the folder."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import Fault

#: Entries of one code folder; far above any real one, so that a wrong path is noticed early.
MOST_ENTRIES = 200_000


def pack_code(folder: Path, archive: Path) -> None:
    """Write a folder's files, folders and links into a new tar, with names relative to it.

    Links are stored as links. Owners are left to the backend. Blocking: call it in a thread.

    Raises:
        InvalidRequest: the folder is empty, or holds what cannot be read or is no file, folder or
            link; every such entry is named.
    """
    faults: list[Fault] = []
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        count = _add_entries(tar, folder, "", faults)
    if not count and not faults:
        faults.append(Fault("code_path", "the folder is empty"))
    if faults:
        raise InvalidRequest(faults)


def _add_entries(tar: tarfile.TarFile, folder: Path, prefix: str, faults: list[Fault]) -> int:
    count = 0
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        faults.append(Fault("code_path", f"{prefix or folder}: {error.strerror}"))
        return count
    for entry in entries:
        count += 1 + _add_entry(tar, entry, f"{prefix}{entry.name}", faults)
        if len(tar.getmembers()) > MOST_ENTRIES:
            faults.append(Fault("code_path", f"holds more than {MOST_ENTRIES} entries"))
            return count
    return count


def _add_entry(
    tar: tarfile.TarFile, entry: os.DirEntry[str], name: str, faults: list[Fault]
) -> int:
    mode = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        tar.addfile(_info(tar, entry, name))
        return _add_entries(tar, Path(entry.path), f"{name}/", faults)
    if stat.S_ISLNK(mode):
        tar.addfile(_info(tar, entry, name))
    elif stat.S_ISREG(mode):
        _add_file(tar, entry, name, faults)
    else:
        faults.append(Fault("code_path", f"{name} is no file, folder or link"))
    return 0


def _add_file(
    tar: tarfile.TarFile, entry: os.DirEntry[str], name: str, faults: list[Fault]
) -> None:
    try:
        # The kind was checked by name; O_NOFOLLOW keeps a swapped-in link from being followed.
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        faults.append(Fault("code_path", f"{name}: {error.strerror}"))
        return
    with os.fdopen(descriptor, "rb") as file:
        info = tar.gettarinfo(arcname=name, fileobj=file)
        # A further hard link to a file that was seen is stored as the file that it is.
        info.type, info.linkname = tarfile.REGTYPE, ""
        info.size = os.fstat(file.fileno()).st_size
        tar.addfile(_ownerless(info), file)


def _info(tar: tarfile.TarFile, entry: os.DirEntry[str], name: str) -> tarfile.TarInfo:
    return _ownerless(tar.gettarinfo(entry.path, arcname=name))


def _ownerless(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
