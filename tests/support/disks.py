"""Disks of a test's own: one that is small, and one that can be made to hang."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.root import need_root


@contextmanager
def small_disk_at(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system in memory that is soon full."""
    need_root("mount", "umount")
    folder.mkdir()
    size = f"size={megabytes}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


#: Thaws a file system once it is told to, or nobody can tell it any more, or time is up.
THAWING = 'timeout 20 cat; exec fsfreeze -u "$0"'


@contextmanager
def frozen_disk_at(folder: Path) -> Iterator[Path]:
    """A file system that `halted` halts as a failing device or server would."""
    need_root("mount", "umount", "mkfs.ext4", "fsfreeze")
    image = folder.with_suffix(".image")
    image.touch()
    subprocess.run(["truncate", "-s", "16M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    folder.mkdir()
    if subprocess.run(["mount", "-o", "loop", image, folder], check=False).returncode:
        pytest.skip("no loop device can be had here")
    try:
        yield folder
    finally:
        # One that is not frozen any more is no fault.
        subprocess.run(["fsfreeze", "-u", folder], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def halted(folder: Path) -> Iterator[None]:
    """Freeze a file system; each call on it waits until the block is left. Blocking.

    Who uses it may be so stuck as to begin no program any more, so the one that thaws runs before.
    """
    with subprocess.Popen(["sh", "-c", THAWING, str(folder)], stdin=subprocess.PIPE):
        subprocess.run(["fsfreeze", "-f", folder], check=True)
        yield


def fill_up(folder: Path) -> Path:
    """Fill a disk to the last byte; return what takes the room."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast
