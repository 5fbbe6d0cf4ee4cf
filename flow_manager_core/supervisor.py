"""Looks at containers, and tells what is new: the only place that draws conclusions.

Whatever makes somebody look, an event, the listing, an operation or the end of a channel, the look
ends in `_conclude`. A run is named by its start, so nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.crash import crash_event
from flow_manager_core.desired import Wish
from flow_manager_core.errors import ContainerNotFound, FlowManagerError
from flow_manager_core.events import StatusChanged
from flow_manager_core.gate import Gate
from flow_manager_core.judge import Judge
from flow_manager_core.ledger import Ledger
from flow_manager_core.lifecycle import Cause, RunEnded, compare
from flow_manager_core.log import get_log
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import (
    Container,
    ContainerState,
    EngineEvent,
    EngineEventKind,
    EngineInfo,
)
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.reporter import Reporter
from flow_manager_core.trace import for_nobody

#: Containers that are looked at at the same time.
LOOKS = 8
#: Seconds between looks at a run whose end was told: Docker shows it as running for some 40 ms.
SETTLING = (*[0.01] * 10, 0.05, 0.1, 0.2, 0.4)
#: Seconds between looks at a container whose channel ended, which may mean nothing.
UNCERTAIN = (0.05, 0.1, 0.2, 0.4)

EndHandler = Callable[[ContainerRecord, RunEnded], Awaitable[None]]
Adopter = Callable[[Container], Awaitable[ContainerRecord | None]]
Dropper = Callable[[ContainerRecord], Awaitable[None]]
Sweeper = Callable[[set[str]], Awaitable[None]]
Considerer = Callable[[ContainerRecord], None]


def _ignore(_record: ContainerRecord) -> None:
    """Consider nothing."""


class Supervisor:
    """Knows how all containers of one instance are.

    Args:
        on_end: awaited for every run that ended, once it was told.
        adopt: takes in a container that the registry does not know.
        drop: lets go of a container that the engine does not know.
        sweep: clears up what belongs to none of the listed ids.
        consider: makes a container what it is meant to be, where it is not.
    """

    def __init__(
        self,
        backend: ContainerBackend,
        registry: Registry,
        reporter: Reporter,
        ledger: Ledger,
        gate: Gate,
        metrics: Metrics,
        *,
        on_end: EndHandler,
        adopt: Adopter,
        drop: Dropper,
        sweep: Sweeper,
        consider: Considerer,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._reporter = reporter
        self._ledger = ledger
        self._gate = gate
        self._metrics = metrics
        self._on_end = on_end
        self._adopt = adopt
        self._drop = drop
        self._sweep = sweep
        self._consider = consider
        self._judge = Judge(backend, gate)
        self._ends: set[ContainerRecord] = set()
        self._limiter = anyio.CapacityLimiter(LOOKS)
        self._looking: set[ContainerRecord] = set()
        self._dirty: set[ContainerRecord] = set()
        self._group: TaskGroup | None = None
        self._log = get_log("supervisor")

    @property
    def engine(self) -> EngineInfo:
        """The engine as it last answered."""
        return self._judge.engine

    async def run(self) -> None:
        """Look where somebody asked to, until cancelled."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                await anyio.sleep_forever()
            finally:
                self._group = None

    async def look(self, record: ContainerRecord) -> Container:
        """Ask the engine about a container, now, and tell what is new.

        Raises:
            ContainerNotFound: the engine no longer has it; the record is dropped.
            EngineError: the engine cannot say.
        """
        async with record.look_lock:
            return await self._look(record)

    async def catch_up(self, engine: EngineInfo) -> None:
        """Find out what happened while the engine's events were not followed.

        Raises:
            EngineError: the engine cannot say.
        """
        await self._judge.meet(engine)
        await self.reconcile()
        self.take_ends()
        await self._ledger.remember_life(engine.life)

    def take_ends(self) -> set[ContainerRecord]:
        """The containers whose runs were seen to end since this was last asked."""
        found, self._ends = self._ends, set()
        return found

    def heard_of_end(self, record: ContainerRecord) -> bool:
        """Whether the engine told of the end that was last seen."""
        return self._judge.heard_of_end(record)

    def blind(self) -> None:
        """The engine's events are no longer followed."""
        self._judge.blind()

    async def reconcile(self) -> None:
        """Compare with the engine's list, and look closer where they differ.

        Raises:
            EngineError: the engine cannot say.
        """
        known = {record.id: record for record in self._registry}
        with self._metrics.engine_call("list"):
            listed = {entry.id: entry for entry in await self._backend.list()}
        async with anyio.create_task_group() as group:
            for container_id in listed.keys() - known.keys():
                group.start_soon(self._take_in, container_id)
            for container_id, record in known.items():
                entry = listed.get(container_id)
                if entry is None or entry.state != record.made_state:
                    group.start_soon(self._try_look, record)
        self._judge.forget_all_but(listed)
        await self._sweep(set(listed))
        for record in self._registry:
            self._consider(record)

    def heard(self, event: EngineEvent) -> None:
        """Take an event of the engine."""
        self._judge.hear(event)
        record = self._registry.with_id(event.container_id)
        if record is not None and event.kind is not EngineEventKind.SIGNALLED:
            self.wake(record)

    def leave_alone(self) -> None:
        """Go on looking, but put nothing right any more: the manager closes."""
        self._consider = _ignore

    def removing(self, record: ContainerRecord) -> None:
        """Leave a container to the operation that deletes it, and tell of that."""
        self._moved(record, ContainerState.REMOVING)
        record.deleting = True

    def not_removed(self, record: ContainerRecord) -> None:
        """Take a container back that could not be removed."""
        record.deleting = False
        self.wake(record)

    def wake(self, record: ContainerRecord) -> None:
        """Have a container looked at soon; several calls make one look."""
        self._dirty.add(record)
        if self._group is not None and record not in self._looking:
            self._looking.add(record)
            with for_nobody():
                self._group.start_soon(self._look_while_dirty, record)

    def channel_ended(self, record: ContainerRecord) -> None:
        """Its program may have ended with its channel: look, without waiting for an event."""
        if self._group is not None and record.state.alive and not record.gone:
            with for_nobody():
                self._group.start_soon(self._look_until_settled, record)

    async def _look_until_settled(self, record: ContainerRecord) -> None:
        for delay in UNCERTAIN:
            if record.gone or record.connected or not record.state.alive:
                return
            self.wake(record)
            await anyio.sleep(delay)

    async def _look_while_dirty(self, record: ContainerRecord) -> None:
        try:
            while record in self._dirty:
                self._dirty.discard(record)
                # While the engine is away nobody can say more than the listing on its return will.
                await self._gate.opened()
                await self._try_look(record)
        finally:
            self._looking.discard(record)

    async def _try_look(self, record: ContainerRecord) -> None:
        try:
            async with self._limiter:
                await self.look(record)
        except ContainerNotFound:
            pass  # look() has told of it and dropped the record
        except FlowManagerError as error:
            self._log.warning(
                "The container could not be looked at",
                container_id=record.short_id,
                error=error.message,
            )
        except Exception:  # noqa: BLE001  # one container in trouble is no reason to leave the rest
            self._log.exception("A container could not be looked at", container_id=record.short_id)

    async def _take_in(self, container_id: str) -> None:
        """Adopt what is not in the registry, unless a create is under way and will admit it."""
        try:
            async with self._limiter:
                record = await self._adopt(await self._backend.inspect(container_id))
                if record is not None:
                    await self.look(record)
        except FlowManagerError as error:
            self._log.warning(
                "A container could not be adopted",
                container_id=container_id[:12],
                error=error.message,
            )
        except Exception:  # noqa: BLE001  # as above
            self._log.exception("A container could not be adopted", container_id=container_id[:12])

    async def _look(self, record: ContainerRecord) -> Container:
        try:
            with self._gate.guarded():
                seen = await self._settled(record)
        except ContainerNotFound:
            if not (record.gone or record.deleting):
                self._moved(record, ContainerState.REMOVING)
                await self._drop(record)
            raise
        if record.deleting:
            return seen
        # Once begun, conclusions are drawn to their end, whoever asked for the look.
        with anyio.CancelScope(shield=True):
            await self._conclude(record, seen)
        return seen

    async def _settled(self, record: ContainerRecord) -> Container:
        """Look again while the engine still shows a run whose end it has told."""
        seen = await self._inspect(record)
        for delay in SETTLING:
            if not self._judge.knows_better(record, seen):
                break
            await anyio.sleep(delay)
            seen = await self._inspect(record)
        return seen

    async def _inspect(self, record: ContainerRecord) -> Container:
        with self._metrics.engine_call("inspect"):
            return await self._backend.inspect(record.id)

    async def _conclude(self, record: ContainerRecord, seen: Container) -> None:
        cause = Cause.ITSELF
        if seen.state.ended and seen.started_at != record.desired.ended_run:
            cause = await self._judge.cause(record, seen)
        elif record.desired.ended_asked:
            cause = Cause.OUTSIDE
        changes = compare(record.state, record.container, seen, cause)
        record.container = seen
        for state in changes.states:
            self._moved(record, state)
        if changes.ended is not None:
            await self._ended(record, changes.ended)
        if seen.state.alive:
            await self._runs(record, seen)

    async def _runs(self, record: ContainerRecord, seen: Container) -> None:
        """A run is under way; one that somebody outside began is wanted as well."""
        record.engine_life = self.engine.life
        desired = record.desired
        if desired.wish is Wish.DOWN and desired.asked_run != seen.started_at:
            await self._ledger.note_at_least_here(record, wish=Wish.UP)

    def _moved(self, record: ContainerRecord, state: ContainerState) -> None:
        if record.state is state:
            return
        old, record.state = record.state, state
        self._log.info("Container status", container_id=record.short_id, old=old, new=state)
        self._reporter.tell(StatusChanged(container_id=record.id, old_state=old, new_state=state))
        record.notify()

    async def _ended(self, record: ContainerRecord, ended: RunEnded) -> None:
        self._ends.add(record)
        if ended.cause is Cause.ITSELF:
            record.ran(ended.uptime, anyio.current_time())
        if ended.crashed and ended.container is not None:
            event = await crash_event(self._backend, ended.container)
            self._log.error(
                "Container crashed", container_id=record.short_id, exit_code=event.exit_code
            )
            self._reporter.tell(event)
        await self._on_end(record, ended)
