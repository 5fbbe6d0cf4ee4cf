"""Samples what running containers use, every few seconds; keeps the latest, tells of alarms."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice

import anyio
import anyio.lowlevel
from attrs import define, field

from flow_manager_core.answers import status_body
from flow_manager_core.contracts import ContainerBackend, ResourceMeter
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import ContainerStatusUpdated, ResourceAlerted, now
from flow_manager_core.gate import Gate
from flow_manager_core.log import get_log
from flow_manager_core.models import ResourceUsage
from flow_manager_core.monitoring.thresholds import DEFAULTS, Alarm
from flow_manager_core.preferences import Preferences
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.reporter import Reporter
from flow_manager_core.settings import Settings
from flow_manager_core.wire import usage_body

ENABLED = "resource_monitoring"
THRESHOLDS = "resource_thresholds"
#: Containers that are told of before other tasks get a turn.
FAIRNESS = 10


@define
class _Watched:
    """What is known of one container's use."""

    samples: deque[ResourceUsage]
    alarm: Alarm = field(factory=Alarm)


class Monitor:
    """Keeps samples of the running containers; nothing of one that is gone.

    Whether it is at work and its thresholds are clients' choice, kept between the manager's lives.

    Args:
        settings: of them, the interval and the number of samples count.
    """

    def __init__(
        self,
        backend: ContainerBackend,
        registry: Registry,
        reporter: Reporter,
        gate: Gate,
        preferences: Preferences,
        settings: Settings,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._reporter = reporter
        self._gate = gate
        self._preferences = preferences
        self._interval = settings.monitoring_interval
        self._kept = settings.monitoring_history
        self._on_by_default = settings.monitoring
        self._watched: dict[ContainerRecord, _Watched] = {}
        self._awake = anyio.Event()
        self._failing = False
        self._log = get_log("monitoring")

    @property
    def enabled(self) -> bool:
        """Whether it is at work."""
        return bool(self._preferences.get(ENABLED, self._on_by_default))

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Resource type to threshold, of those that have one."""
        chosen: Mapping[str, float | None] = self._preferences.get(THRESHOLDS, {})
        return {name: t for name, t in {**DEFAULTS, **chosen}.items() if t is not None}

    async def enable(self, enabled: bool) -> None:
        """Begin or cease to sample.

        Raises:
            SystemFault: the choice cannot be kept.
        """
        await self._preferences.choose(ENABLED, enabled)
        self._awake.set()

    async def choose_thresholds(self, changes: Mapping[str, float | None]) -> None:
        """Change some thresholds; ``None`` takes one away.

        Raises:
            SystemFault: the choice cannot be kept.
        """
        chosen = self._preferences.get(THRESHOLDS, {})
        await self._preferences.choose(THRESHOLDS, {**chosen, **changes})

    def history(self, record: ContainerRecord, limit: int) -> Sequence[ResourceUsage]:
        """The latest samples of a container, oldest first, at most `limit`."""
        watched = self._watched.get(record)
        if watched is None:
            return ()
        skipped = max(0, len(watched.samples) - limit)
        return tuple(islice(watched.samples, skipped, None))

    def latest(self, record: ContainerRecord) -> ResourceUsage | None:
        """The last sample, if it is one of the last two rounds and the container runs."""
        found = self.history(record, 1) if record.state.alive else ()
        if found and (now() - found[-1].timestamp).total_seconds() < 2 * self._interval:
            return found[-1]
        return None

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            began = anyio.current_time()
            if self.enabled and self._gate.is_open:
                await self._try_round()
            with anyio.move_on_at(began + self._interval):
                await self._awake.wait()
            self._awake = anyio.Event()

    async def _try_round(self) -> None:
        try:
            await self._round()
        except Exception:  # noqa: BLE001  # one failed round is no reason to sample no more
            self._log.exception("A round of monitoring failed")

    async def _round(self) -> None:
        self._forget_the_gone()
        running = [record for record in self._registry if record.state.alive]
        usages = await self._measure([record.id for record in running])
        for number, record in enumerate(running, start=1):
            if record.state.alive and not record.gone:
                self._note(record, usages.get(record.id))
            if number % FAIRNESS == 0:
                await anyio.lowlevel.checkpoint()

    def _forget_the_gone(self) -> None:
        for record in [record for record in self._watched if record.gone]:
            del self._watched[record]

    async def _measure(self, container_ids: Sequence[str]) -> Mapping[str, ResourceUsage]:
        if not container_ids or not isinstance(self._backend, ResourceMeter):
            return {}
        try:
            usages = await self._backend.usages(container_ids)
        except FlowManagerError as error:
            self._tell_of_failure(error.message)
            return {}
        self._failing = False
        return usages

    def _tell_of_failure(self, error: str) -> None:
        """A condition that lasts is one line in the log."""
        if not self._failing:
            self._log.warning("Resources could not be measured", error=error)
        self._failing = True

    def _note(self, record: ContainerRecord, usage: ResourceUsage | None) -> None:
        if usage is not None:
            watched = self._watched.get(record)
            if watched is None:
                watched = self._watched[record] = _Watched(deque(maxlen=self._kept))
            watched.samples.append(usage)
            self._alert(record, usage, watched.alarm)
        if self._reporter.wanted(ContainerStatusUpdated):
            status = status_body(record, usage)
            self._reporter.tell(ContainerStatusUpdated(container_id=record.id, status=status))

    def _alert(self, record: ContainerRecord, usage: ResourceUsage, alarm: Alarm) -> None:
        for crossing in alarm.crossings(usage, self.thresholds):
            self._log.warning(
                "Resource alert",
                container_id=record.short_id,
                resource_type=crossing.resource_type,
                value=crossing.current_value,
                threshold=crossing.threshold,
            )
            self._reporter.tell(
                ResourceAlerted(
                    container_id=record.id,
                    resource_type=crossing.resource_type,
                    current_value=crossing.current_value,
                    threshold=crossing.threshold,
                    usage_data=usage_body(usage) or {},
                )
            )
