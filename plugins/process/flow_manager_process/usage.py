"""Measures what a run's processes use. Blocking: call it in a thread."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from attrs import frozen

from flow_manager_core.events import now
from flow_manager_core.models import ResourceUsage


@frozen
class Sample:
    """The CPU time of a run at one moment, to compare the next with; both in seconds."""

    run: int
    cpu: float
    at: float


@frozen
class Totals:
    """The sums over a run's processes: CPU seconds, bytes, processes and threads."""

    cpu: float = 0.0
    memory: int = 0
    threads: int = 0
    read: int = 0
    written: int = 0

    def plus(self, process: psutil.Process) -> Totals:
        """Add one process, with its ended children's CPU time."""
        with process.oneshot():
            times = process.cpu_times()
            disk = process.io_counters() if hasattr(process, "io_counters") else None
            return Totals(
                cpu=self.cpu
                + times.user
                + times.system
                + times.children_user
                + times.children_system,
                memory=self.memory + process.memory_info().rss,
                threads=self.threads + process.num_threads(),
                read=self.read + (disk.read_bytes if disk else 0),
                written=self.written + (disk.write_bytes if disk else 0),
            )


def measure(
    keeper: int, run: int, earlier: Sample | None
) -> tuple[ResourceUsage, Sample] | tuple[None, None]:
    """Measure all processes below a keeper, shared memory counted for each.

    Args:
        earlier: of the same container; without it CPU use is not known yet.
    """
    totals = _sum(keeper)
    if totals is None:
        return None, None
    sample = Sample(run, totals.cpu, time.monotonic())
    usage = ResourceUsage(
        timestamp=now(),
        cpu_percent=_percent(earlier, sample),
        memory_usage=totals.memory,
        disk_read_bytes=totals.read,
        disk_write_bytes=totals.written,
        pids=totals.threads,
    )
    return usage, sample


def _sum(keeper: int) -> Totals | None:
    totals, seen = Totals(), False
    for pid in _descendants(keeper):
        try:
            totals, seen = totals.plus(psutil.Process(pid)), True
        except psutil.Error:  # it ended while it was looked at
            continue
    return totals if seen else None


def _percent(earlier: Sample | None, sample: Sample) -> float | None:
    if earlier is None or earlier.run != sample.run or sample.at <= earlier.at:
        return None
    return round(max(0.0, 100 * (sample.cpu - earlier.cpu) / (sample.at - earlier.at)), 2)


def _descendants(pid: int) -> list[int]:
    """List them all; by Linux's own listing where it is there, for it costs microseconds."""
    if not Path(f"/proc/self/task/{psutil.Process().pid}/children").exists():
        try:
            return [p.pid for p in psutil.Process(pid).children(recursive=True)]
        except psutil.Error:
            return []
    found = _children(pid)
    for child in found:
        found += _children(child)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found
