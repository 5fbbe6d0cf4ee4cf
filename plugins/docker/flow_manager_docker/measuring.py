"""From what was read to what is told, wherever it was read. Pure."""

from __future__ import annotations

from datetime import datetime

from attrs import evolve, frozen

from flow_manager_core.models import ResourceUsage
from flow_manager_docker.cgroup import Reading

#: Seconds below which a difference says nothing.
LEAST_INTERVAL = 1e-3

#: Seconds that a sample is compared with before a younger one takes its place: whoever asks often
#: must not leave those who ask seldom with a difference of an instant.
WINDOW = 1.0


@frozen
class CpuSample:
    """The processor's seconds at a moment; and an older sample, at least `WINDOW` before it."""

    at: float
    cpu_seconds: float
    older: CpuSample | None = None


def compare(before: CpuSample | None, fresh: CpuSample) -> tuple[CpuSample, float | None]:
    """Compare with a sample that is old enough.

    Returns:
        the sample to keep; and percent of one core, ``None`` while nothing is old enough.
    """
    base = before.older if before and fresh.at - before.at < WINDOW else before
    if before is not None and base is not before:
        keep = before
    else:
        keep = evolve(fresh, older=before and evolve(before, older=None))
    if base is None:
        return keep, None
    return keep, percent(fresh.cpu_seconds - base.cpu_seconds, fresh.at - base.at)


def percent(used: float, elapsed: float) -> float:
    """Seconds of the processor in so many seconds, as percent of one core."""
    return max(0.0, 100 * used / max(elapsed, LEAST_INTERVAL))


def usage_of(reading: Reading, cpu_percent: float | None, at: datetime) -> ResourceUsage:
    """Put a reading into the core's words."""
    limit, memory = reading.memory_limit, reading.memory
    received, sent = reading.network or (None, None)
    read, written = reading.disk or (None, None)
    return ResourceUsage(
        timestamp=at,
        cpu_percent=cpu_percent,
        memory_usage=memory,
        memory_limit=limit,
        memory_percent=None if memory is None or not limit else 100 * memory / limit,
        network_rx_bytes=received,
        network_tx_bytes=sent,
        disk_read_bytes=read,
        disk_write_bytes=written,
        pids=reading.pids,
    )
