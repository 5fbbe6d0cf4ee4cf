"""Tars of a code folder: as the core has them, and as the engine takes and gives them."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from flow_manager_core.errors import EngineError

#: Entries of one folder; the core packs no more.
MOST_ENTRIES = 200_000
PERMISSIONS = 0o777
FOLDER_MODE = 0o755


def pack_for_engine(
    archive: Path, target: IO[bytes], code_dir: str, owner: tuple[int, int]
) -> None:
    """Rewrite an archive so that the engine, unpacking it at ``/``, replaces the code folder.

    An empty file of the folder's name comes first: for it the engine removes the old folder, or
    the link that a program may have put there. Then the folder is made anew. The parents are not
    named, as the engine would give them this archive's owner and mode.

    Args:
        archive: names relative to the code folder.
        code_dir: absolute.
        owner: user and group of all that is made.

    Raises:
        EngineError: a member climbs out, or is no file, folder or link.
    """
    root = code_dir.strip("/")
    with tarfile.open(archive, "r:") as given, _new_tar(target) as made:
        made.addfile(_entry(root, tarfile.REGTYPE, owner))
        made.addfile(_entry(root, tarfile.DIRTYPE, owner))
        for member in _members(given):
            if (name := _safe_name(member.name, member.name)) == ".":
                continue
            _add(made, given, _rebased(member, f"{root}/{name}", root, owner), member)


def unpack_from_engine(source: IO[bytes], target: Path, limit: int) -> None:
    """Write the engine's archive of the code folder anew, with names relative to the folder.

    Devices, pipes and the like are left out: they are no code, and could not be written back.

    Args:
        source: not seekable; its names begin with ``./``.
        limit: bytes of all files together.

    Raises:
        EngineError: there is more than that, or more than 200,000 entries.
    """
    total = 0
    with tarfile.open(fileobj=source, mode="r|") as given, tarfile.open(target, "w:") as made:
        for member in _code_members(given):
            total += member.size
            if total > limit:
                raise EngineError(f"The code folder holds more than {limit} bytes")
            _add(made, given, _rebased(member, posixpath.normpath(member.name), "", None), member)


def empty_archive(target: Path) -> None:
    """Write an archive of no code at all."""
    with tarfile.open(target, "w:"):
        pass


def _code_members(given: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for count, member in enumerate(_members(given)):
        if count > MOST_ENTRIES:
            raise EngineError(f"The code folder holds more than {MOST_ENTRIES} entries")
        if posixpath.normpath(member.name) != "." and _is_code(member):
            yield member


def _members(given: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in given:
        # It keeps a note of every entry, which nobody reads.
        given.members = []  # type: ignore[attr-defined]  # not told of, but public by its name
        yield member


def _new_tar(target: IO[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=target, mode="w:", format=tarfile.PAX_FORMAT)


def _is_code(member: tarfile.TarInfo) -> bool:
    return member.isreg() or member.isdir() or member.issym() or member.islnk()


def _safe_name(name: str, told: str) -> str:
    norm = posixpath.normpath(name)
    if name.startswith("/") or norm == ".." or norm.startswith("../"):
        raise EngineError(f"The archive's member {told!r} lies outside the code folder")
    return norm


def _entry(name: str, kind: bytes, owner: tuple[int, int]) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, FOLDER_MODE
    entry.uid, entry.gid = owner
    return entry


def _rebased(
    member: tarfile.TarInfo, name: str, root: str, owner: tuple[int, int] | None
) -> tarfile.TarInfo:
    """Copy what matters of a member: no extended attributes, no set-user-id bits."""
    if not _is_code(member):
        raise EngineError(f"The archive's member {member.name!r} is no file, folder or link")
    made = tarfile.TarInfo(name)
    made.type = tarfile.REGTYPE if member.isreg() else member.type
    made.size = member.size if member.isreg() else 0
    made.mode, made.mtime = member.mode & PERMISSIONS, member.mtime
    made.uid, made.gid = owner or (member.uid, member.gid)
    made.linkname = member.linkname
    if member.islnk():
        # A hard link names another member, so it moves along; a symbolic one is just a text.
        made.linkname = posixpath.join(root, _safe_name(member.linkname, member.name))
    return made


def _add(
    made: tarfile.TarFile, given: tarfile.TarFile, entry: tarfile.TarInfo, member: tarfile.TarInfo
) -> None:
    made.addfile(entry, given.extractfile(member) if member.isreg() else None)
