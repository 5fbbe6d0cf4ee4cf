"""Checks what a part holds: a tar inside the tar, which a backend will unpack."""

from __future__ import annotations

import posixpath
import tarfile
from typing import IO, Protocol, cast

from flow_manager_core.backups.layout import refused

#: Bytes of one member's own words (a long name, extended attributes); Linux's limit for all
#: extended attributes of a file is 64 KiB.
LONGEST_WORDS = 1024 * 1024
#: Entries of one part; each costs an inode where it is unpacked.
MOST_ENTRIES = 20_000_000
#: Where an image has its devices; they are hidden below the container's own.
DEVICES = "dev/"


class Readable(Protocol):
    """The bytes of a part, from its beginning."""

    size: int

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes."""

    def tell(self) -> int:
        """Bytes read so far."""


def check_part(name: str, source: Readable) -> int:
    """Read a part to its end; return how many entries it has.

    Raises:
        InvalidRequest: it is no tar, it is not whole, or an entry of it leads out of its folder,
            is a device, or is bigger than the part itself.
    """
    count = 0
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Forward(source)), mode="r:") as tar:
            while (member := tar.next()) is not None:
                count += 1
                _check(name, member, count)
                # They are kept for random access, which nobody wants here.
                tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, UnicodeError) as error:
        raise refused(f"the part {name} of the archive cannot be read: {error}") from None
    return count


def _check(part: str, member: tarfile.TarInfo, count: int) -> None:
    names = [member.name, member.linkname] if member.islnk() else [member.name]
    for path in names:
        norm = posixpath.normpath(path)
        if path.startswith("/") or norm == ".." or norm.startswith("../") or "\0" in path:
            raise refused(f"the part {part} holds {member.name!r}, which leads out of it")
    if member.ischr() or member.isblk():
        below = part == "filesystem" and posixpath.normpath(member.name).startswith(DEVICES)
        if not below:
            raise refused(f"the part {part} holds the device {member.name!r}")
    elif member.issparse() or member.type not in tarfile.SUPPORTED_TYPES:
        raise refused(f"the part {part} holds {member.name!r}, which is of an unknown kind")
    if count > MOST_ENTRIES:
        raise refused(f"the part {part} has more than {MOST_ENTRIES} entries")


class _Forward:
    """A file that `tarfile` may seek in, as long as that is forward."""

    def __init__(self, source: Readable) -> None:
        self._source = source

    def read(self, size: int) -> bytes:
        if size > LONGEST_WORDS:
            raise ValueError("an entry has too many words of its own")
        return self._source.read(size)

    def tell(self) -> int:
        return self._source.tell()

    def seek(self, target: int) -> int:
        if target > self._source.size:
            raise ValueError("it ends before its end")
        if target < self._source.tell():
            raise ValueError("its entries overlap")
        while (left := target - self._source.tell()) > 0:
            self._source.read(min(left, LONGEST_WORDS))
        return target
