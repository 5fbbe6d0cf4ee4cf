"""Checks every running container that has a check, each in a task of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import islice

import anyio
from anyio.abc import TaskGroup

from flow_manager_core.events import HealthWarned, now
from flow_manager_core.gate import Gate
from flow_manager_core.health_checks.configs import HealthConfigs
from flow_manager_core.health_checks.course import Chart, Course, Result, Verdict
from flow_manager_core.health_checks.probes import Probes, Unasked
from flow_manager_core.log import get_log
from flow_manager_core.models import ContainerState, Health
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.reporter import Reporter
from flow_manager_core.trace import for_nobody

Heal = Callable[[ContainerRecord, datetime | None], Awaitable[None]]


class HealthKeeper:
    """Knows how the containers are, as far as their checks tell.

    Args:
        heal: awaited for a container that is unhealthy, with the run that is.
        group: holds a task for each container.
    """

    def __init__(
        self,
        configs: HealthConfigs,
        probes: Probes,
        reporter: Reporter,
        gate: Gate,
        group: TaskGroup,
        heal: Heal,
    ) -> None:
        self.configs = configs
        self._probes = probes
        self._reporter = reporter
        self._gate = gate
        self._group = group
        self._heal = heal
        self._charts: dict[ContainerRecord, Chart] = {}
        self._log = get_log("health")

    def take_in(self, record: ContainerRecord) -> None:
        """Look after a container from now on, until it is gone."""
        self._charts[record] = Chart()
        record.health = self._unasked(record)
        with for_nobody():
            self._group.start_soon(self._look_after, record)

    def reconsider(self, *records: ContainerRecord) -> None:
        """Have changed configs taken up."""
        for record in records or tuple(self._charts):
            record.notify()

    def history(self, record: ContainerRecord, limit: int) -> Sequence[Result]:
        """The latest results of a container, oldest first, at most `limit`."""
        results = self._chart(record).results
        return tuple(islice(results, max(0, len(results) - limit), None))

    def failures(self, record: ContainerRecord) -> int:
        """How many checks in a row have failed."""
        course = self._chart(record).course
        return course.failures if course else 0

    def _chart(self, record: ContainerRecord) -> Chart:
        return self._charts.get(record) or Chart()

    def _unasked(self, record: ContainerRecord) -> Health | None:
        """The health of a container that does not run: one that never did is about to."""
        new = record.state is ContainerState.CREATED
        return Health.STARTING if new and self.configs.effective(record) is not None else None

    async def _look_after(self, record: ContainerRecord) -> None:
        try:
            while not record.gone:
                try:
                    await self._check_run(record)
                except Exception:  # noqa: BLE001  # one container's fault must not end the care
                    self._log.exception("Health checks failed", container_id=record.short_id)
                    await anyio.sleep(1)
        finally:
            del self._charts[record]

    async def _check_run(self, record: ContainerRecord) -> None:
        """Check one run under one config, to the end of either; or wait for there to be one."""
        check, run = self.configs.effective(record), _run_of(record)
        course = Course(check) if check is not None and run is not None else None
        self._charts[record].course = course
        record.health = course.health if course else self._unasked(record)

        def over() -> bool:
            changed = self.configs.effective(record) != check or _run_of(record) != run
            return changed or record.gone

        if course is None:
            while not over():
                await record.changed()
            return
        while not await _waited(record, over, course.check.interval):
            if _goes(record):
                await self._check(record, course, run)

    async def _check(self, record: ContainerRecord, course: Course, run: datetime | None) -> None:
        await self._gate.opened()
        began = anyio.current_time()
        try:
            verdict = await self._probes.ask(record, course.check)
        except Unasked as error:
            self._log.debug("No health check", container_id=record.short_id, reason=str(error))
            return
        if _run_of(record) != run or record.gone:
            return  # it answered for a run that is over
        if not _goes(record):
            return  # who was halted meanwhile could not answer
        self._note(record, course, verdict, anyio.current_time() - began)
        if course.health is Health.UNHEALTHY:
            await self._heal(record, run)

    def _note(
        self, record: ContainerRecord, course: Course, verdict: Verdict, duration: float
    ) -> None:
        counts = course.note(verdict, up_for=_uptime(record))
        before, record.health = record.health, course.health
        result = Result(
            timestamp=now(),
            duration=round(duration, 4),
            health=course.health,
            failures=course.failures,
            error=verdict.error,
        )
        self._charts[record].results.append(result)
        if before is not course.health:
            told = "Container health"
            self._log.info(told, container_id=record.short_id, old=before, new=course.health)
        if counts:
            self._warn(record, course, verdict)

    def _warn(self, record: ContainerRecord, course: Course, verdict: Verdict) -> None:
        self._log.warning(
            "Health check failed",
            container_id=record.short_id,
            failures=course.failures,
            error=verdict.error,
        )
        self._reporter.tell(
            HealthWarned(
                container_id=record.id,
                health=course.health,
                failures=course.failures,
                error=verdict.error,
            )
        )


def _run_of(record: ContainerRecord) -> datetime | None:
    """The run that is under way, by its start; ``None`` when there is none."""
    return record.container.started_at if record.container and record.state.alive else None


def _goes(record: ContainerRecord) -> bool:
    """Whether its program can answer: it runs, and no backup halts it."""
    return record.state is ContainerState.RUNNING and not record.desired.frozen


def _uptime(record: ContainerRecord) -> float:
    run = _run_of(record)
    return (now() - run).total_seconds() if run else 0.0


async def _waited(record: ContainerRecord, over: Callable[[], bool], seconds: float) -> bool:
    """Wait for so long, or until it is over; tell whether it is."""
    with anyio.move_on_after(seconds):
        while not over():
            await record.changed()
    return over()
