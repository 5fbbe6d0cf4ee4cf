"""Starts ended containers again, as the recovery policy decides.

The policy is pure: how the runs ended goes in, a delay or the end of all attempts comes out. A
stop, delete, start, restart or update of the container wins over a restart that waits. What the
engine's own end has ended is started again without asking the policy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from flow_manager_core.contracts import RecoveryPolicy
from flow_manager_core.desired import WATCHING, Wish
from flow_manager_core.errors import (
    ContainerNotFound,
    EngineUnavailable,
    FlowManagerError,
    VolumeRefused,
)
from flow_manager_core.events import ContainerRecovered, RecoveryGaveUp, RecoveryScheduled
from flow_manager_core.gate import Gate
from flow_manager_core.ledger import Ledger
from flow_manager_core.lifecycle import Cause, RunEnded
from flow_manager_core.log import get_log
from flow_manager_core.models import GiveUp, Restart, RestartMode
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.reporter import Reporter
from flow_manager_core.trace import for_nobody

#: Restarts that are carried out at the same time: many crash loops must not starve the engine.
RESTARTS = 4
#: Seconds between two tries while the engine does not answer; these spend no attempt.
ENGINE_AWAY = 1.0
#: The verdict for a run that ended through no fault of its own.
FREE = Restart(attempt=0, delay=0.0)


@define(eq=False)
class _Pending:
    """A recovery under way.

    Args:
        free: the next restart spends no attempt.
        again: a run ended that it has not considered yet.
        starting: the engine is being asked; whoever wants the container waits for its lock.
    """

    free: bool
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    again: bool = True
    starting: bool = False


Starter = Callable[[ContainerRecord], Awaitable[None]]


class Recoverer:
    """Waits out the delays, each in a task of its own.

    Args:
        start: starts a container whose lock is held.
    """

    def __init__(
        self,
        policy: RecoveryPolicy,
        reporter: Reporter,
        ledger: Ledger,
        gate: Gate,
        group: TaskGroup,
        start: Starter,
    ) -> None:
        self._policy = policy
        self._reporter = reporter
        self._ledger = ledger
        self._gate = gate
        self._group = group
        self._start = start
        self._limiter = anyio.CapacityLimiter(RESTARTS)
        self._pending: dict[ContainerRecord, _Pending] = {}
        self._closed = False
        self._log = get_log("recovery")

    async def run_ended(self, record: ContainerRecord, ended: RunEnded) -> None:
        """Record a run's end, and what follows from it; an `EndHandler` for the supervisor."""
        wanted = self._wanted(record, ended)
        changes: dict[str, Any] = {"ended_run": ended.run, "ended_asked": ended.cause.asked}
        if record.desired.wish is Wish.UP and not wanted and self._final(record, ended):
            changes["wish"] = Wish.DOWN
        await self._ledger.note_at_least_here(record, **changes)
        if wanted and record.desired.job in WATCHING:
            self.resume(record, free=ended.cause is Cause.OUTAGE)

    def resume(self, record: ContainerRecord, *, free: bool = False) -> None:
        """Bring a container back that is wanted.

        Args:
            free: without spending an attempt.
        """
        if self._closed:
            return
        pending = self._pending.get(record)
        if pending is not None:
            pending.again = True
            pending.free = free
            return
        pending = self._pending[record] = _Pending(free)
        with for_nobody():
            self._group.start_soon(self._recover, record, pending)

    def recovering(self, record: ContainerRecord) -> bool:
        """Whether a restart waits or is under way."""
        return record in self._pending

    def cancel(self, record: ContainerRecord) -> None:
        """Forget a restart that waits: somebody took the container in hand."""
        pending = self._pending.get(record)
        if pending is None:
            return
        pending.again = False
        if not pending.starting:
            del self._pending[record]
            pending.scope.cancel()

    def close(self) -> None:
        """Start nothing any more."""
        self._closed = True
        for record in list(self._pending):
            self.cancel(record)

    def _final(self, record: ContainerRecord, ended: RunEnded) -> bool:
        """Whether nobody is about to start it again after this end."""
        judged = ended.cause is not Cause.ASKED and ended.container is not None
        return judged and record.desired.job in WATCHING

    def _wanted(self, record: ContainerRecord, ended: RunEnded) -> bool:
        """Whether a run's end asks for another run."""
        if ended.container is None or ended.cause.asked or record.desired.wish is Wish.GONE:
            return False
        mode = record.terms.restart.policy
        if mode is RestartMode.ALWAYS:
            return True
        if ended.cause is Cause.OUTAGE:
            return mode is not RestartMode.NEVER and record.desired.wish is Wish.UP
        return mode is not RestartMode.NEVER and ended.crashed

    async def _recover(self, record: ContainerRecord, pending: _Pending) -> None:
        with pending.scope:
            try:
                while pending.again and not pending.scope.cancel_called:
                    pending.again = False
                    await self._attempt(record, pending)
            except Exception:  # noqa: BLE001  # one container's fault must not end the others' care
                self._log.exception("Recovery failed", container_id=record.short_id)
            finally:
                if self._pending.get(record) is pending:
                    del self._pending[record]

    async def _attempt(self, record: ContainerRecord, pending: _Pending) -> None:
        verdict = self._decide(record, pending)
        if isinstance(verdict, GiveUp):
            self._give_up(record, verdict)
            await self._ledger.note_at_least_here(record, wish=Wish.DOWN)
            return
        self._schedule(record, verdict)
        await anyio.sleep(verdict.delay - self._waited(record, verdict))
        while not await self._started(record, verdict, pending):  # noqa: ASYNC110  # no event tells
            await anyio.sleep(ENGINE_AWAY)

    def _decide(self, record: ContainerRecord, pending: _Pending) -> Restart | GiveUp:
        free, pending.free = pending.free or not record.uptimes, False
        return FREE if free else self._policy.decide(record.history, record.terms.restart)

    def _waited(self, record: ContainerRecord, verdict: Restart) -> float:
        """Seconds of the delay that passed before, in an earlier life of the manager."""
        since = anyio.current_time() - record.ends[-1] if record.ends else 0.0
        return min(max(0.0, since), verdict.delay)

    async def _started(self, record: ContainerRecord, verdict: Restart, pending: _Pending) -> bool:
        """Start it, unless somebody was faster; false: the engine is away."""
        await self._gate.opened()
        async with record.lock, self._limiter:
            if record.gone or record.state.alive:
                return True
            pending.starting = True
            try:
                await self._start_again(record, verdict, pending)
            except EngineUnavailable:
                self._gate.doubt()
                return False
            finally:
                pending.starting = False
        return True

    def _schedule(self, record: ContainerRecord, verdict: Restart) -> None:
        self._log.info(
            "Container recovery scheduled",
            container_id=record.short_id,
            attempt=verdict.attempt,
            delay=round(verdict.delay, 3),
        )
        self._reporter.tell(
            RecoveryScheduled(
                container_id=record.id, attempt=verdict.attempt, delay=round(verdict.delay, 3)
            )
        )

    async def _start_again(
        self, record: ContainerRecord, verdict: Restart, pending: _Pending
    ) -> None:
        try:
            await self._start(record)
        except EngineUnavailable:
            raise
        except ContainerNotFound:
            return  # somebody removed it; the supervisor tells of that
        except VolumeRefused as error:
            self._give_up(record, GiveUp(verdict.attempt, error.message))
            return
        except FlowManagerError as error:
            self._log.error(
                "Operation: recover_container", container_id=record.short_id, error=error.message
            )
            record.ran(0.0, anyio.current_time())
            pending.again = True
            return
        await self._ledger.note_at_least_here(record, restarts=record.desired.restarts + 1)
        if record.state.alive:
            self._log.info(
                "Container recovered", container_id=record.short_id, attempt=verdict.attempt
            )
            self._reporter.tell(ContainerRecovered(container_id=record.id, attempt=verdict.attempt))

    def _give_up(self, record: ContainerRecord, verdict: GiveUp) -> None:
        self._log.error(
            "Container recovery gave up",
            container_id=record.short_id,
            attempts=verdict.attempts,
            reason=verdict.reason,
        )
        self._reporter.tell(
            RecoveryGaveUp(container_id=record.id, attempts=verdict.attempts, reason=verdict.reason)
        )
