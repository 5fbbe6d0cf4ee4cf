"""Puts archives into code folders and code folders into archives. Blocking: call it in a thread.

Files are written below a new folder that no program knows yet, links are made last, and only ones
that stay inside: so nothing is ever written through a link, in any Python's tarfile.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import tarfile
from pathlib import Path
from typing import IO

from flow_manager_core.errors import EngineError, InvalidRequest
from flow_manager_core.models import Fault
from flow_manager_process.store import CODE, NEW_CODE, OLD_CODE, mend_code, remove_tree


def replace_code(folder: Path, archive: Path) -> None:
    """Replace a container's code folder by an archive's content; the old one stays until then.

    Raises:
        EngineError: the archive cannot be read, or holds a kind that is not allowed.
        InvalidRequest: a name or link leads out of the folder.
    """
    fresh = folder / NEW_CODE
    remove_tree(fresh)
    fresh.mkdir(mode=0o700)
    try:
        with tarfile.open(archive, "r:") as tar:
            _extract(tar, fresh)
    except (tarfile.TarError, EOFError, FileExistsError, NotADirectoryError) as error:
        remove_tree(fresh)
        raise EngineError(f"The code archive cannot be unpacked: {error}") from error
    except BaseException:
        remove_tree(fresh)
        raise
    (folder / CODE).rename(folder / OLD_CODE)
    fresh.rename(folder / CODE)
    mend_code(folder)


def archive_code(folder: Path, archive: Path) -> None:
    """Write a container's code folder into a new archive; sockets, pipes and the like stay out."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted((folder / CODE).iterdir()):
            tar.add(entry, arcname=entry.name, filter=_storable)


def _storable(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    plain = member.isreg() or member.isdir() or member.issym() or member.islnk()
    return member if plain else None


def _extract(tar: tarfile.TarFile, root: Path) -> None:
    links = []
    for member in tar:
        name = _inside(member.name)
        if name == ".":
            continue
        if member.isdir():
            (root / name).mkdir(parents=True, exist_ok=True)
        elif member.issym():
            links.append((name, member.linkname))
        elif member.isreg() or member.islnk():
            _write(tar, member, root / name)
        else:
            raise EngineError(f"The code archive holds {name}, which is no file, folder or link")
    for name, target in links:
        _inside(posixpath.join(posixpath.dirname(name), target))
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)


def _inside(name: str) -> str:
    """Bring a name into its plain form.

    Raises:
        InvalidRequest: it is absolute or leads out of the folder.
    """
    plain = posixpath.normpath(name)
    if plain.startswith(("/", "../")) or plain == ".." or "\0" in plain:
        raise InvalidRequest([Fault("code_path", f"{name!r} leads out of the folder")])
    return plain


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """Open a file's content; a hard link's is that of the file it names."""
    try:
        content = tar.extractfile(member)
    except KeyError:
        content = None
    if content is None:
        raise EngineError(f"The code archive's link leads nowhere: {member.name!r}")
    return content


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = _content(tar, member)
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
        os.fchmod(file.fileno(), 0o600 | member.mode & 0o777)
    os.utime(path, (member.mtime, member.mtime))
