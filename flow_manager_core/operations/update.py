"""Replace a container's code, prove that the new one lives, and put the old one back if not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from flow_manager_core.contracts import CodeStore
from flow_manager_core.desired import Job, Wish
from flow_manager_core.errors import EngineError, FlowManagerError, InvalidRequest
from flow_manager_core.models import Fault
from flow_manager_core.operations.placing import pack, working_folder
from flow_manager_core.operations.running import start_run, stop_run
from flow_manager_core.operations.vetting import host_rules
from flow_manager_core.paths import code_path_faults
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import UpdateContainer
from flow_manager_core.services import Services
from flow_manager_core.trace import current_key
from flow_manager_core.turns import Turn

#: The archive of the code that is replaced.
OLD = "old.tar"
#: Seconds that the way back may take when the manager is closing.
WAY_BACK = 5.0


async def update_container(
    services: Services, record: ContainerRecord, request: UpdateContainer, _turn: Turn
) -> dict[str, Any]:
    """Exchange the code folder of a container that was made with one; restart it if it runs.

    Raises:
        InvalidRequest: the folder cannot be used, or the container has no code folder.
        EngineError: the new code did not come to life, and the old is back.
    """
    store = _store(services, record)
    rules = await host_rules(services)
    faults = await to_thread.run_sync(code_path_faults, Path(request.code_path), rules)
    if faults:
        raise InvalidRequest(faults)
    async with working_folder(services, record) as folder:
        await pack(services, request.code_path, folder / "new.tar")
        # Whether it runs is the engine's to say: an end may not have been noticed yet.
        await services.supervisor.look(record)
        await _Exchange(services, record, store, folder).run()
    record.forgive()
    services.reporter.done(
        record,
        "container_updated",
        f"Container {record.name} updated",
        code_path=request.code_path,
    )
    return {
        "container_id": record.short_id,
        "code_path": request.code_path,
        "status": "updated",
    }


def _store(services: Services, record: ContainerRecord) -> CodeStore:
    if not isinstance(services.backend, CodeStore):
        raise InvalidRequest(
            [Fault("code_path", f"not supported by the {services.backend_name} backend")]
        )
    if not record.terms.has_code:
        raise InvalidRequest([Fault("code_path", "the container was created without a code_path")])
    return services.backend


class _Exchange:
    """One exchange of code, with the way back."""

    def __init__(
        self, services: Services, record: ContainerRecord, store: CodeStore, folder: Path
    ) -> None:
        self._services = services
        self._record = record
        self._store = store
        self._new = folder / "new.tar"
        self._old = folder / OLD
        # One that ended and waits for its restart is to run, and its new code to prove itself.
        wanted = record.desired.wish is Wish.UP or services.recovery.recovering(record)
        waits = wanted and not record.state.alive
        self._ran = record.state.alive or waits
        self._talked = record.connected or (waits and self._connections() > 0)

    async def run(self) -> None:
        """Exchange, or leave things as they were and say why."""
        # From here until the job is done a later life puts the old code back.
        wish = Wish.UP if self._ran else Wish.DOWN
        patience = self._record.terms.stop_timeout
        await stop_run(self._services, self._record, patience, job=Job.UPDATE, wish=wish)
        try:
            await keep_old_code(self._store, self._record, self._old)
        except FlowManagerError:
            await self._start_old()
            raise
        try:
            await self._store.write_code(self._record.id, self._new)
            await self._start_and_prove()
        except Exception as error:  # noqa: BLE001  # whatever it was, the old code comes back
            await self._put_back(_told(error))
        except BaseException:
            with anyio.move_on_after(WAY_BACK, shield=True):
                await self._put_back("the manager is shutting down")
            raise
        await self._services.ledger.note(self._record, job=Job.NONE, code_of=current_key())

    async def _start_and_prove(self) -> None:
        if not self._ran:
            return
        settings, record = self._services.settings, self._record
        before = self._connections()
        await start_run(self._services, record, refused=Wish.UP)
        if self._talked:
            await record.wait_for(
                lambda: self._back(before) or not record.state.alive, settings.reconnect_timeout
            )
        else:
            await record.wait_for(lambda: not record.state.alive, settings.proof_of_life)
        if not record.state.alive:
            raise EngineError(f"it ended with exit code {record.made().exit_code}")
        if self._talked and not self._back(before):
            raise EngineError(
                f"it did not open its channel within {settings.reconnect_timeout:g} s"
            )

    def _connections(self) -> int:
        return self._record.channel.connections if self._record.channel else 0

    def _back(self, before: int) -> bool:
        return self._record.connected and self._connections() > before

    async def _put_back(self, reason: str) -> None:
        try:
            await stop_run(self._services, self._record, self._record.terms.stop_timeout)
            await self._store.write_code(self._record.id, self._old)
            await self._start_old()
        except FlowManagerError as error:
            raise EngineError(
                f"The new code did not come to life ({reason}), and the old code could not be put"
                f" back and started ({error.message}); this is tried again while the manager runs"
            ) from error
        now = "and runs again" if self._ran else "and the container is stopped as before"
        raise EngineError(
            f"The new code did not come to life ({reason}); the old code was put back {now}",
            hint="Check the new code, for example with get_container_logs, and update again",
        )

    async def _start_old(self) -> None:
        await self._services.ledger.note(self._record, job=Job.NONE)
        if self._ran:
            await start_run(self._services, self._record)


async def keep_old_code(store: CodeStore, record: ContainerRecord, path: Path) -> None:
    """Read the code into a file that is whole as soon as it is there."""
    aside = path.with_suffix(".part")
    await store.read_code(record.id, aside)
    await to_thread.run_sync(_settle, aside, path)


def _settle(aside: Path, path: Path) -> None:
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)


async def undo_update(services: Services, record: ContainerRecord) -> None:
    """Put back the code from before an update that nobody finished. The record's lock is held.

    Raises:
        FlowManagerError: it cannot be done now.
    """
    runs = record.desired.wish is Wish.UP
    async with working_folder(services, record) as folder:
        await stop_run(services, record, record.terms.stop_timeout)
        if (folder / OLD).exists():
            await _store(services, record).write_code(record.id, folder / OLD)
        await services.ledger.note(record, job=Job.NONE)
    if runs:
        await start_run(services, record)
    services.reporter.note(
        record,
        "container_error",
        "An update was interrupted; the container has its old code",
    )


def _told(error: Exception) -> str:
    return error.message if isinstance(error, FlowManagerError) else type(error).__name__
