"""What backups and restores share: the ability, the archive, and a watch over what moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
from anyio import to_thread
from attrs import frozen

from flow_manager_core.backups.gauge import Gauge
from flow_manager_core.backups.manifest import Manifest
from flow_manager_core.backups.place import BackupFile
from flow_manager_core.backups.reading import Archive, ArchiveReader
from flow_manager_core.backups.shelf import in_thread
from flow_manager_core.contracts import ContainerBackend, Snapshots
from flow_manager_core.errors import FlowManagerError, InvalidRequest, SystemFault
from flow_manager_core.events import BackupProgressed
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault
from flow_manager_core.services import Services
from flow_manager_core.trace import current_request

T = TypeVar("T")

#: Seconds between two looks at what has moved; each tells the clients.
TICK = 0.5

_log = get_log("backup")


def snapshots_of(services: Services, field: str) -> Snapshots:
    """The backend's ability.

    Args:
        field: of the request, for the error.

    Raises:
        InvalidRequest: it has none.
    """
    if not isinstance(services.backend, Snapshots):
        told = f"backups are not supported by the {services.backend_name} backend"
        raise InvalidRequest([Fault(field, told)])
    return services.backend


async def discard_ground(backend: ContainerBackend, key: str) -> None:
    """Take away what a restore laid under a container; what cannot be taken away is told."""
    if isinstance(backend, Snapshots):
        try:
            await backend.discard(key)
        except FlowManagerError as error:
            _log.warning("What a restore made is left", key=key, error=error.message)


class Transfer:
    """One backup, restore or check: its progress, and its end when nothing moves any more.

    Args:
        path: of the archive, as clients are shown it.
    """

    def __init__(self, services: Services, path: str) -> None:
        self._services = services
        self._path = path
        self.gauge: Gauge = Gauge()
        self.container_id: str = ""

    async def watched(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what moves data, one phase of it; tell how far it has come, and its end.

        Raises:
            SystemFault: nothing has moved for `backup_stall_timeout` seconds.
        """
        outcome: list[T] = []
        failure: Exception | None = None
        scope = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(self._tick, scope)
            with scope:
                try:
                    outcome.append(await work())
                except Exception as error:  # noqa: BLE001  # carried past the group's wrapping
                    failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not outcome:
            limit = self._services.settings.backup_stall_timeout
            told = f"Nothing has moved for {limit:g} seconds in the phase {self.gauge.phase}"
            raise SystemFault(told, retryable=True)
        self._tell()
        return outcome[0]

    async def _tick(self, scope: anyio.CancelScope) -> None:
        limit = self._services.settings.backup_stall_timeout
        seen, moved_at = -1, anyio.current_time()
        while True:
            if self.gauge.steps != seen:
                seen, moved_at = self.gauge.steps, anyio.current_time()
                self._tell()
            elif anyio.current_time() - moved_at > limit:
                scope.cancel()
                return
            await anyio.sleep(min(TICK, limit / 4))

    def _tell(self) -> None:
        self._services.reporter.tell(
            BackupProgressed(
                container_id=self.container_id,
                path=self._path,
                phase=self.gauge.phase,
                current=self.gauge.current,
                total=self.gauge.total,
                request_id=current_request(),
            )
        )

    async def verified(self, descriptor: int) -> Archive:
        """Read an archive from end to end; see `ArchiveReader.verify`."""
        self.gauge.enter("verify")
        reader = ArchiveReader(descriptor, self.gauge, limit=self._services.shelf.limit)
        return await self.watched(
            partial(to_thread.run_sync, reader.verify, abandon_on_cancel=True)
        )


@frozen
class Opened:
    """An archive that was found to be whole, and is open."""

    descriptor: int
    archive: Archive
    manifest: Manifest


@asynccontextmanager
async def opened(transfer: Transfer, file: BackupFile) -> AsyncIterator[Opened]:
    """Open an archive and check it.

    Raises:
        InvalidRequest: it cannot be used; the message says why.
        SystemFault: the disk refuses.
    """
    async with in_thread(file.opened()) as descriptor:
        try:
            archive = await transfer.verified(descriptor)
            yield Opened(descriptor, archive, Manifest.read(archive))
        finally:
            # No thread may read a descriptor that is closed, or somebody else's by then.
            transfer.gauge.stop()
