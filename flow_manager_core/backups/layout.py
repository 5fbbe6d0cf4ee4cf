"""How a backup is laid out: a tar of plain files, of which every byte is accounted for.

In this order: ``flow-manager-backup.json`` says what it is, ``parts/*.tar`` hold what the
container has, ``manifest.json`` says what it was, and ``SHA256SUMS`` is the end: its lines are
those that ``sha256sum -c`` takes. A header is word for word what `header` makes, so that there is
one archive for each content, and nothing in it that nobody looks at.
"""

from __future__ import annotations

import json
import re
import tarfile
from typing import Any

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import Fault

FORMAT = 1
HEAD = "flow-manager-backup.json"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
PART = re.compile(r"parts/([a-z0-9][a-z0-9-]{0,62})\.tar")

BLOCK = tarfile.BLOCKSIZE
#: POSIX: a tar ends with two blocks of zeros.
END = bytes(2 * BLOCK)
#: Bytes of the texts among the members; a real manifest has some ten thousand.
LONGEST_TEXT = 4 * 1024 * 1024
#: Bytes that are read and written at a time.
CHUNK = 256 * 1024


def header(name: str, size: int, made: int) -> bytes:
    """The block before a member's bytes.

    Args:
        made: seconds since the epoch.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, made, 0o600
    return info.tobuf(tarfile.GNU_FORMAT)


def read_header(block: bytes) -> tuple[str, int]:
    """The name and the size of the member that follows.

    Raises:
        InvalidRequest: the block is not one of `header`.
    """
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        if header(info.name, info.size, int(info.mtime)) == block:
            return info.name, info.size
    except (tarfile.HeaderError, ValueError, OverflowError):
        pass
    raise refused("the archive is damaged: a header in it cannot be read")


def padding(size: int) -> int:
    """Bytes of zeros after a member of this size."""
    return -size % BLOCK


def part_member(name: str) -> str:
    """What the member of a part is called."""
    return f"parts/{name}.tar"


def dump(body: Any) -> bytes:
    """JSON for people to read as well."""
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()


def sums_text(sums: dict[str, str]) -> bytes:
    """The lines of ``sha256sum``."""
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()


def refused(told: str) -> InvalidRequest:
    """The error for an archive that cannot be used."""
    return InvalidRequest(
        [Fault("path", told)],
        hint="Use another backup; flow-manager backup --verify PATH says whether one is whole",
    )
