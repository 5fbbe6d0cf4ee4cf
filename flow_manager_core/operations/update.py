"""Replace a container's code, prove that the new one lives, and put the old one back if not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anyio import to_thread

from flow_manager_core.code import pack_code
from flow_manager_core.contracts import CodeStore
from flow_manager_core.errors import EngineError, FlowManagerError, InvalidRequest
from flow_manager_core.models import Fault
from flow_manager_core.operations.running import start_run, stop_run
from flow_manager_core.paths import code_path_faults
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import UpdateContainer
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn


async def update_container(
    services: Services, record: ContainerRecord, request: UpdateContainer, _turn: Turn
) -> dict[str, Any]:
    """Exchange the code folder of a container that was made with one; restart it if it runs.

    Raises:
        InvalidRequest: the folder cannot be used, or the container has no code folder.
        EngineError: the new code did not come to life, and the old is back.
    """
    store = _store(services, record)
    faults = await to_thread.run_sync(code_path_faults, Path(request.code_path), services.settings)
    if faults:
        raise InvalidRequest(faults)
    with tempfile.TemporaryDirectory(prefix="flow-manager-") as folder, _updating(record):
        new, old = Path(folder) / "new.tar", Path(folder) / "old.tar"
        await to_thread.run_sync(pack_code, Path(request.code_path), new)
        await _Exchange(services, record, store, new, old).run()
    record.forgive()
    services.reporter.note(
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


@contextmanager
def _updating(record: ContainerRecord) -> Iterator[None]:
    """Keep recovery away: what ends meanwhile is the update's own matter."""
    record.updating = True
    try:
        yield
    finally:
        record.updating = False


class _Exchange:
    """One exchange of code, with the way back."""

    def __init__(
        self, services: Services, record: ContainerRecord, store: CodeStore, new: Path, old: Path
    ) -> None:
        self._services = services
        self._record = record
        self._store = store
        self._new = new
        self._old = old
        self._ran = record.state.alive
        self._talked = record.connected

    async def run(self) -> None:
        """Exchange, or leave things as they were and say why."""
        await stop_run(self._services, self._record, self._record.terms.stop_timeout)
        try:
            await self._store.read_code(self._record.id, self._old)
        except FlowManagerError as error:
            await self._start_old(error)
            raise
        try:
            await self._store.write_code(self._record.id, self._new)
            await self._start_and_prove()
        except FlowManagerError as error:
            await self._put_back(error)

    async def _start_and_prove(self) -> None:
        if not self._ran:
            return
        await start_run(self._services, self._record)
        settings, record = self._services.settings, self._record
        if self._talked:
            settled = await record.wait_for(
                lambda: record.connected or not record.state.alive, settings.reconnect_timeout
            )
            if not settled:
                raise EngineError(
                    f"it did not open its channel within {settings.reconnect_timeout:g} s"
                )
        else:
            await record.wait_for(lambda: not record.state.alive, settings.proof_of_life)
        if not record.state.alive:
            code = record.made().exit_code
            raise EngineError(f"it ended with exit code {code}")

    async def _put_back(self, error: FlowManagerError) -> None:
        await stop_run(self._services, self._record, self._record.terms.stop_timeout)
        try:
            await self._store.write_code(self._record.id, self._old)
        except FlowManagerError as second:
            raise EngineError(
                f"The new code did not come to life ({error.message}), and the old code could not"
                f" be put back ({second.message})"
            ) from error
        await self._start_old(error)
        now = "and runs again" if self._ran else "and the container is stopped as before"
        raise EngineError(
            f"The new code did not come to life ({error.message}); the old code was put back {now}",
            hint="Check the new code, for example with get_container_logs, and update again",
        ) from error

    async def _start_old(self, error: FlowManagerError) -> None:
        if not self._ran:
            return
        try:
            await start_run(self._services, self._record)
        except FlowManagerError as second:
            raise EngineError(
                f"The update failed ({error.message}), and the old code could not be started"
                f" again ({second.message})"
            ) from error
