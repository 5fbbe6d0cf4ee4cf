"""Tells whether a process is still the one that a record speaks of: numbers are used again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil

#: Seconds between a record's start and the process's own, where the kernel's ticks are unknown.
TOLERANCE = 5.0

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Name this boot of the machine; empty where the system has no name for it."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot: field 22 of proc(5)'s stat."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[19])


def same_process(pid: int, ticks: int, boot: str, started: float) -> bool:
    """Tell whether a process runs that started at that moment of that boot.

    Args:
        ticks: as `start_ticks` gave it, 0 where it could not.
        boot: as `boot_id` gave it.
        started: seconds since the epoch; used when there are no ticks.
    """
    if boot != boot_id():
        return False
    if ticks:
        return start_ticks(pid) == ticks
    try:
        created: float = psutil.Process(pid).create_time()
    except psutil.Error:
        return False
    return abs(created - started) < TOLERANCE


def open_pidfd(pid: int) -> int | None:
    """Get a descriptor that turns readable when the process ends; ``None``: not on this system.

    Raises:
        ProcessLookupError: there is no such process.
    """
    if sys.platform != "linux":
        return None
    return os.pidfd_open(pid)
