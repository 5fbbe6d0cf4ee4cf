"""Makes containers what they are meant to be, where an operation was cut off or things differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from anyio import to_thread
from anyio.abc import TaskGroup

from flow_manager_core.desired import Job, Need, Wish, need
from flow_manager_core.errors import ContainerNotFound, EngineUnavailable, FlowManagerError
from flow_manager_core.log import get_log
from flow_manager_core.operations.backup import end_backup
from flow_manager_core.operations.create import finish_create
from flow_manager_core.operations.running import finish_delete, stop_run
from flow_manager_core.operations.update import undo_update
from flow_manager_core.operations.vetting import vet_run
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.services import Services
from flow_manager_core.trace import for_nobody


class Converger:
    """Acts on the difference between a desired state and what was last seen, one step at a time.

    An operation that holds the container's lock goes first. What fails is tried again when the
    containers are next compared.
    """

    def __init__(self, services: Services, group: TaskGroup) -> None:
        self._services = services
        self._group = group
        self._busy: set[ContainerRecord] = set()
        self._log = get_log("convergence")
        self._steps: Mapping[Need, Callable[[ContainerRecord], Awaitable[None]]] = {
            Need.FINISH_CREATE: self._finish_create,
            Need.FINISH_STOP: self._finish_stop,
            Need.FINISH_DELETE: self._finish_delete,
            Need.UNDO_UPDATE: self._undo_update,
            Need.END_BACKUP: self._end_backup,
            Need.UNDO_RESTORE: self._finish_delete,
            Need.START: self._recover,
            Need.RECOVER: self._recover,
        }

    def consider(self, record: ContainerRecord) -> None:
        """Begin to put a container right, if it is not and nobody is at it."""
        if self._sound(record) or record in self._busy or record.lock.locked():
            return
        self._busy.add(record)
        with for_nobody():
            self._group.start_soon(self._put_right, record)

    def _sound(self, record: ContainerRecord) -> bool:
        return self._need(record) is Need.NOTHING and not self._to_vet(record)

    def _to_vet(self, record: ContainerRecord) -> bool:
        """Whether the engine went away between a start and the look at what came of it."""
        return record.unvetted and record.state.alive and not record.gone

    async def settle(self, record: ContainerRecord) -> None:
        """Finish or undo what an earlier operation left, for the one that comes now.

        The record's lock is held.

        Raises:
            FlowManagerError: that cannot be done now.
        """
        desired = record.desired
        if record.gone:
            return
        if record.container is not None and (
            desired.job is not Job.NONE or desired.wish is Wish.GONE
        ):
            await self._steps[need(desired, record.container)](record)

    def _need(self, record: ContainerRecord) -> Need:
        if record.gone or record.container is None or self._services.recovery.recovering(record):
            return Need.NOTHING
        return need(record.desired, record.container)

    async def _put_right(self, record: ContainerRecord) -> None:
        try:
            async with record.lock:
                if self._to_vet(record):
                    await vet_run(self._services, record)
            while (found := self._need(record)) is not Need.NOTHING:
                self._log.info("Putting right", container_id=record.short_id, step=found.value)
                async with record.lock:
                    if self._need(record) is found:
                        await self._steps[found](record)
        except ContainerNotFound:
            pass  # the supervisor tells of that
        except FlowManagerError as error:
            self._tell_failure(record, error)
        except Exception:  # noqa: BLE001  # one container's fault must not end the others' care
            self._log.exception("A container could not be put right", container_id=record.short_id)
        finally:
            self._busy.discard(record)

    def _tell_failure(self, record: ContainerRecord, error: FlowManagerError) -> None:
        """What may pass by itself, such as an engine that is away, is nobody's fault to mend."""
        if error.retryable:
            tell, event = self._log.warning, "Putting right is put off"
        else:
            tell, event = self._log.error, "A container could not be put right"
        tell(event, container_id=record.short_id, error=error.message)

    async def _finish_create(self, record: ContainerRecord) -> None:
        """Complete a container, or remove one that cannot be completed."""
        try:
            await finish_create(self._services, record)
        except EngineUnavailable:
            raise
        except FlowManagerError as error:
            self._log.error(
                "A create that was interrupted cannot be finished",
                container_id=record.short_id,
                error=error.message,
            )
            await finish_delete(self._services, record)

    async def _finish_stop(self, record: ContainerRecord) -> None:
        await stop_run(self._services, record, record.terms.stop_timeout)

    async def _finish_delete(self, record: ContainerRecord) -> None:
        await finish_delete(self._services, record)

    async def _undo_update(self, record: ContainerRecord) -> None:
        await undo_update(self._services, record)

    async def _end_backup(self, record: ContainerRecord) -> None:
        await end_backup(self._services, record)

    async def _recover(self, record: ContainerRecord) -> None:
        """Leave it to recovery; a run that never was, or that we ended, spends no attempt."""
        found = need(record.desired, record.made())
        self._services.recovery.resume(record, free=found is Need.START)


async def clear_workplace(services: Services) -> None:
    """Take away the archives of operations that nobody will come back for."""
    strays = services.ledger.strays.values()
    wanted = {record.desired for record in services.registry} | set(strays)
    keys = {desired.key for desired in wanted if desired.job is not Job.NONE}
    await to_thread.run_sync(services.workplace.clear_all_but, keys)
