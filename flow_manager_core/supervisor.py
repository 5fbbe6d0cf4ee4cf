"""Keeps what the manager believes equal to what the engine says, and tells the difference.

Events make it fast: each one makes the supervisor look at its container. Listing makes it true:
every few seconds, at the start and after every gap the engine's own list is compared. Both ways
end in `_look`, the only place that draws conclusions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from signal import SIGINT, SIGKILL, SIGQUIT, SIGTERM

import anyio
from anyio.abc import TaskGroup

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.crash import crash_event
from flow_manager_core.errors import ContainerNotFound, FlowManagerError
from flow_manager_core.events import StatusChanged
from flow_manager_core.lifecycle import RunEnded, compare, signal_of
from flow_manager_core.log import get_log
from flow_manager_core.models import Container, ContainerState, EngineEvent, EngineEventKind
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.reporter import Reporter
from flow_manager_core.trace import for_nobody

#: Signals that ask a program to end, however it does so; another one must itself have ended it.
POLITE = frozenset({SIGTERM, SIGINT, SIGQUIT})
#: Seconds beyond the stop timeout in which an end still counts as the answer to a signal.
STOP_SLACK = 5.0
#: Containers that are looked at at the same time.
LOOKS = 8
#: Seconds until a lost event stream is opened again.
WATCH_AGAIN = 1.0

EndHandler = Callable[[ContainerRecord, RunEnded], None]
Adopter = Callable[[Container], Awaitable[None]]
Dropper = Callable[[ContainerRecord], Awaitable[None]]


class Supervisor:
    """Watches all containers of one instance.

    Args:
        on_end: told of every run that ended.
        adopt: takes in a container that the registry does not know.
        drop: lets go of a container that the engine does not know.
    """

    def __init__(
        self,
        backend: ContainerBackend,
        registry: Registry,
        reporter: Reporter,
        *,
        interval: float,
        on_end: EndHandler,
        adopt: Adopter,
        drop: Dropper,
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._reporter = reporter
        self._interval = interval
        self._on_end = on_end
        self._adopt = adopt
        self._drop = drop
        self._limiter = anyio.CapacityLimiter(LOOKS)
        self._looking: set[ContainerRecord] = set()
        self._dirty: set[ContainerRecord] = set()
        self._group: TaskGroup | None = None
        self._log = get_log("supervisor")
        self.engine_away = False

    async def run(self) -> None:
        """Watch and compare until cancelled."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                group.start_soon(self._watch)
                group.start_soon(self._reconcile_regularly)
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

    async def reconcile(self) -> None:
        """Compare with the engine's list, and look closer where they differ.

        Raises:
            EngineError: the engine cannot say.
        """
        known = {record.id: record for record in self._registry}
        listed = {entry.id: entry for entry in await self._backend.list()}
        async with anyio.create_task_group() as group:
            for container_id in listed.keys() - known.keys():
                group.start_soon(self._take_in, container_id)
            for container_id, record in known.items():
                entry = listed.get(container_id)
                if entry is None or entry.state != record.made_state:
                    group.start_soon(self._try_look, record)

    async def _watch(self) -> None:
        while True:
            try:
                async with self._backend.watch() as events:
                    await self.reconcile()
                    self._back()
                    async for event in events:
                        self._heard(event)
                self._log.warning("The engine's event stream ended; watching again")
            except FlowManagerError as error:
                self._away(error)
            except Exception:  # noqa: BLE001  # a provider's fault must not end the watch
                self._log.exception("The backend failed in a way that it must not")
            await anyio.sleep(WATCH_AGAIN)

    async def _reconcile_regularly(self) -> None:
        while True:
            await anyio.sleep(self._interval)
            await self.try_reconcile()

    async def try_reconcile(self) -> None:
        """Compare, and go on without if that cannot be done now."""
        try:
            await self.reconcile()
        except FlowManagerError as error:
            self._away(error)
        except Exception:  # noqa: BLE001  # as in the watch
            self._log.exception("The backend failed in a way that it must not")
        else:
            self._back()

    def _back(self) -> None:
        if self.engine_away:
            self._log.info("The engine answers again")
        self.engine_away = False

    def _away(self, error: FlowManagerError) -> None:
        if not self.engine_away:
            self._log.error("The engine does not answer", error=error.message)
        self.engine_away = True

    def _heard(self, event: EngineEvent) -> None:
        record = self._registry.with_id(event.container_id)
        if record is None:
            return
        signalled = event.kind is EngineEventKind.SIGNALLED and event.signal != SIGKILL
        if signalled or event.kind is EngineEventKind.STOPPED:
            record.outside_stop = (event.at, event.signal)
        if event.kind is not EngineEventKind.SIGNALLED:
            self.wake(record)

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

    async def _look_while_dirty(self, record: ContainerRecord) -> None:
        try:
            while record in self._dirty:
                self._dirty.discard(record)
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
                await self._adopt(await self._backend.inspect(container_id))
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
            seen = await self._backend.inspect(record.id)
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

    async def _conclude(self, record: ContainerRecord, seen: Container) -> None:
        changes = compare(
            record.state, record.container, seen, asked=self._asked_to_end(record, seen)
        )
        record.container = seen
        for state in changes.states:
            self._moved(record, state)
        if changes.ended is not None:
            await self._ended(record, changes.ended)

    def _asked_to_end(self, record: ContainerRecord, seen: Container) -> bool:
        """Whether the run that is seen was asked to end: by us, or by a polite signal outside."""
        if seen.started_at is None:
            return False
        if record.asked_run == seen.started_at:
            return True
        at, signal = record.outside_stop
        if seen.finished_at is None or at < seen.started_at.timestamp():
            return False
        if signal is not None and signal not in POLITE and signal_of(seen) != signal:
            return False
        waited = seen.finished_at.timestamp() - at
        return waited <= record.terms.stop_timeout + STOP_SLACK

    def _moved(self, record: ContainerRecord, state: ContainerState) -> None:
        if record.state is state:
            return
        old, record.state = record.state, state
        self._log.info("Container status", container_id=record.short_id, old=old, new=state)
        self._reporter.tell(StatusChanged(container_id=record.id, old_state=old, new_state=state))
        record.notify()

    async def _ended(self, record: ContainerRecord, ended: RunEnded) -> None:
        record.ran(ended.uptime, anyio.current_time())
        if ended.crashed and ended.container is not None:
            event = await crash_event(self._backend, ended.container)
            self._log.error(
                "Container crashed", container_id=record.short_id, exit_code=event.exit_code
            )
            self._reporter.tell(event)
        self._on_end(record, ended)
