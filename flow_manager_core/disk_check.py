"""What there is left on the disk of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from flow_manager_core.findings import Finding, error, fine, warning

MIB = 1024 * 1024
#: Bytes; an update needs the code twice, and the log with its rotations takes 60 MB.
LITTLE, NONE = 256 * MIB, 16 * MIB

RESOURCES = "Check system resources (memory, disk space)"


def room(folder: Path) -> Iterator[Finding]:
    """Say what is free, and whether that is enough. Blocking.

    Raises:
        OSError: the folder cannot be looked at.
    """
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    told = f"{free // MIB} MiB are free on the disk of {folder}"
    remedy = f"{RESOURCES}: make room, or move the folder to another disk"
    details = {"folder": str(folder), "free": free}
    if free < LITTLE:
        kind = error if free < NONE else warning
        yield kind(f"Disk space is short: {told}", remedy, details=details)
    elif status.f_files and status.f_favail < status.f_files // 100:
        yield error(f"{status.f_favail} files can be made on the disk of {folder}", remedy)
    else:
        yield fine(told, **details)
