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
from flow_manager_docker.measuring import CpuSample, compare, percent, usage_of

#: Containers whose last sample is kept; the one longest unasked goes first.
SAMPLES_LIMIT = 4096


@frozen
class Run:
    """A run of a container: its first process, on this host."""

    pid: int
    started_at: datetime


@frozen
class _Known:
    """A run, and the processor's seconds when it was last looked at."""

    run: Run
    sample: CpuSample


class Meter:
    """Reads the kernel's files; its methods block, and may be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: OrderedDict[str, _Known] = OrderedDict()

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

    def _measure(self, container_id: str, run: Run, known: _Known | None) -> ResourceUsage | None:
        process = f"/proc/{run.pid}"
        groups = cgroup.text_of(f"{process}/cgroup")
        # A process of that number that is not this container's: another run's, another host's.
        if groups is None or container_id not in groups:
            return None
        found = cgroup.folders(cgroup.parse_groups(groups), self._mounts)
        reading = cgroup.read_groups(found)
        share = self._cpu_percent(container_id, run, known, reading.cpu_seconds)
        limits = [n for n in (reading.memory_limit, self._host_memory) if n]
        whole = evolve(
            reading,
            memory_limit=min(limits, default=None),
            network=cgroup.read_network(process),
        )
        return usage_of(whole, share, now())

    @cached_property
    def _mounts(self) -> dict[str, tuple[str, str]]:
        return cgroup.parse_mounts(Path("/proc/self/mountinfo").read_text())

    @cached_property
    def _host_memory(self) -> int | None:
        return cgroup.host_memory()

    def _cpu_percent(
        self, container_id: str, run: Run, known: _Known | None, used: float | None
    ) -> float | None:
        """Compare with a sample that is old enough; without one, average since the start."""
        if used is None:
            return None
        before = None if known is None else known.sample
        kept, found = compare(before, CpuSample(time.monotonic(), used))
        if kept is not before:
            self._keep(container_id, _Known(run, kept))
        return percent(used, (now() - run.started_at).total_seconds()) if found is None else found

    def _keep(self, container_id: str, known: _Known) -> None:
        with self._lock:
            self._samples[container_id] = known
            self._samples.move_to_end(container_id)
            if len(self._samples) > SAMPLES_LIMIT:
                self._samples.popitem(last=False)
