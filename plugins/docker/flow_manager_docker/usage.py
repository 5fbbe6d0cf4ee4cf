"""What containers use, and of the processor since the last time of asking."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path

from attrs import evolve, frozen

from flow_manager_core.events import now
from flow_manager_core.models import ResourceUsage
from flow_manager_docker import cgroup

#: Containers whose last sample is kept; the one longest unasked goes first.
SAMPLES_LIMIT = 4096

#: Seconds below which a difference says nothing.
LEAST_INTERVAL = 1e-3

#: Seconds that a sample is compared with before a younger one takes its place: whoever asks often
#: must not leave those who ask seldom with a difference of an instant.
WINDOW = 1.0


@frozen
class Run:
    """A run of a container: its first process, on this host."""

    pid: int
    started_at: datetime


@frozen
class _Sample:
    """The processor's seconds at a moment; and an older sample, at least `WINDOW` before it."""

    run: Run
    at: float
    cpu_seconds: float
    older: _Sample | None = None


class Meter:
    """Reads the kernel's files; its methods block, and may be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: OrderedDict[str, _Sample] = OrderedDict()

    def measure(
        self, container_id: str, find_run: Callable[[], Run | None]
    ) -> ResourceUsage | None:
        """Measure now.

        Args:
            find_run: asks the engine; only called when the run is not known yet, or over.
        """
        with self._lock:
            known = self._samples.get(container_id)
        if known is not None and (usage := self._measure(container_id, known.run, known)):
            return usage
        run = find_run()
        found = None if run is None else self._measure(container_id, run, None)
        if found is None:
            self.forget(container_id)
        return found

    def forget(self, container_id: str) -> None:
        """Drop what is kept of a container."""
        with self._lock:
            self._samples.pop(container_id, None)

    def _measure(self, container_id: str, run: Run, before: _Sample | None) -> ResourceUsage | None:
        process = Path("/proc", str(run.pid))
        try:
            groups = (process / "cgroup").read_text()
        except OSError:
            return None
        # A process of that number that is not this container's: another run's, another host's.
        if container_id not in groups:
            return None
        found = cgroup.folders(cgroup.parse_groups(groups), self._mounts)
        reading = cgroup.read_groups(found)
        percent = self._cpu_percent(container_id, run, before, reading.cpu_seconds)
        return self._told(reading, cgroup.read_network(process), percent)

    @cached_property
    def _mounts(self) -> dict[str, tuple[str, str]]:
        return cgroup.parse_mounts(Path("/proc/self/mountinfo").read_text())

    @cached_property
    def _host_memory(self) -> int | None:
        return cgroup.host_memory()

    def _cpu_percent(
        self, container_id: str, run: Run, before: _Sample | None, used: float | None
    ) -> float | None:
        """Compare with a sample that is old enough; without one, average since the start."""
        if used is None:
            return None
        at = time.monotonic()
        base = before.older if before and at - before.at < WINDOW else before
        if before is None or base is before:
            self._keep(container_id, _Sample(run, at, used, before and evolve(before, older=None)))
        if base is None:
            return _percent(used, (now() - run.started_at).total_seconds())
        return _percent(used - base.cpu_seconds, at - base.at)

    def _keep(self, container_id: str, sample: _Sample) -> None:
        with self._lock:
            self._samples[container_id] = sample
            self._samples.move_to_end(container_id)
            if len(self._samples) > SAMPLES_LIMIT:
                self._samples.popitem(last=False)

    def _told(
        self, found: cgroup.Reading, network: tuple[int, int] | None, cpu_percent: float | None
    ) -> ResourceUsage:
        limits = [n for n in (found.memory_limit, self._host_memory) if n]
        limit = min(limits, default=None)
        share = None if found.memory is None or not limit else 100 * found.memory / limit
        received, sent = network or (None, None)
        read, written = found.disk or (None, None)
        return ResourceUsage(
            timestamp=now(),
            cpu_percent=cpu_percent,
            memory_usage=found.memory,
            memory_limit=limit,
            memory_percent=share,
            network_rx_bytes=received,
            network_tx_bytes=sent,
            disk_read_bytes=read,
            disk_write_bytes=written,
            pids=found.pids,
        )


def _percent(used: float, elapsed: float) -> float:
    return max(0.0, 100 * used / max(elapsed, LEAST_INTERVAL))
