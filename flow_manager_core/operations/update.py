"""Replace a container's code, prove that the new one lives, and put the old one back if not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from flow_manager_core.code import pack_code
from flow_manager_core.contracts import CodeStore
from flow_manager_core.errors import EngineError, FlowManagerError, InvalidRequest
from flow_manager_core.models import ContainerState, Fault
from flow_manager_core.operations.running import start_run, stop_run
from flow_manager_core.paths import code_path_faults
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import UpdateContainer
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn

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
        # One that crashed and waits for its restart is to run, and its new code to prove itself.
        crashed = record.wanted_up and record.state is ContainerState.EXITED
        self._ran = record.state.alive or crashed
        self._talked = record.connected or (crashed and self._connections() > 0)

    async def run(self) -> None:
        """Exchange, or leave things as they were and say why."""
        await stop_run(self._services, self._record, self._record.terms.stop_timeout)
        try:
            await self._store.read_code(self._record.id, self._old)
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

    async def _start_and_prove(self) -> None:
        if not self._ran:
            return
        settings, record = self._services.settings, self._record
        before = self._connections()
        await start_run(self._services, record)
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
                f" back and started ({error.message})"
            ) from error
        now = "and runs again" if self._ran else "and the container is stopped as before"
        raise EngineError(
            f"The new code did not come to life ({reason}); the old code was put back {now}",
            hint="Check the new code, for example with get_container_logs, and update again",
        )

    async def _start_old(self) -> None:
        if self._ran:
            await start_run(self._services, self._record)


def _told(error: Exception) -> str:
    return error.message if isinstance(error, FlowManagerError) else type(error).__name__
