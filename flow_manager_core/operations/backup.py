"""Back up a container: halt it, write down what it is and has, let it go on, check the archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
from anyio import to_thread
from attrs import evolve

from flow_manager_core.backups.layout import FORMAT, HEAD, MANIFEST, dump, part_member
from flow_manager_core.backups.manifest import Manifest, payload_of
from flow_manager_core.backups.place import BackupDraft, BackupFile
from flow_manager_core.backups.reading import Archive
from flow_manager_core.backups.shelf import in_thread
from flow_manager_core.backups.writing import ArchiveWriter, PartWriter, Written
from flow_manager_core.contracts import CodeStore, Snapshots
from flow_manager_core.desired import Job
from flow_manager_core.errors import FlowManagerError, SystemFault
from flow_manager_core.events import now
from flow_manager_core.log import get_log
from flow_manager_core.models import ContainerState, Part, PartKind, Snapshot
from flow_manager_core.operations.placing import working_folder
from flow_manager_core.operations.transfers import Transfer, opened, snapshots_of
from flow_manager_core.operations.vetting import check_sources, volumes_of
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import BackupContainer, VerifyBackup
from flow_manager_core.services import Services
from flow_manager_core.terms import client_labels
from flow_manager_core.turns import Turn
from flow_manager_core.wire import timestamp

#: Seconds for letting a container go on when the backup was cut off.
WAY_BACK = 5.0
CODE = Part("code", PartKind.CODE)

_log = get_log("backup")


async def backup_container(
    services: Services, record: ContainerRecord, request: BackupContainer, _turn: Turn
) -> dict[str, Any]:
    """Write a container into a new archive; no half of one is ever to be seen.

    Raises:
        InvalidRequest: the backend cannot, or the path cannot be used.
        SystemFault: the disk refuses; nothing moves; too many transfers are under way.
        EngineError: the engine refuses.
    """
    snapshots = snapshots_of(services, "container_id")
    file = services.shelf.file(request.path)
    with services.shelf.turn(), services.gate.guarded():
        await services.supervisor.look(record)
        transfer = Transfer(services, file.path)
        transfer.container_id = record.id
        backup = _Backup(services, record, snapshots, request, transfer)
        draft = file.written(record.desired.key, overwrite=request.overwrite)
        async with backup.noted(file), in_thread(draft) as place:
            try:
                archive, manifest = await backup.run(place)
            finally:
                # No thread may write to a descriptor that is closed, or somebody else's by then.
                transfer.gauge.stop()
            await to_thread.run_sync(place.put)
    services.reporter.done(
        record, "container_backed_up", f"Container {record.name} backed up", path=file.path
    )
    told = {"container_id": record.short_id, "status": "backed_up"}
    return {**told, **archive_body(file, archive, manifest)}


async def verify_backup(
    services: Services, _record: None, request: VerifyBackup, _turn: Turn
) -> dict[str, Any]:
    """Check a whole archive and say what is in it; nothing secret of it.

    Raises:
        InvalidRequest: it cannot be used; the message says why.
    """
    file = services.shelf.file(request.path)
    with services.shelf.turn():
        async with opened(Transfer(services, file.path), file) as found:
            body = archive_body(file, found.archive, found.manifest)
    return {**body, "status": "whole"}


async def end_backup(services: Services, record: ContainerRecord) -> None:
    """Let a container go on that a backup halted, and leave nothing of a half archive.

    The record's lock is held.

    Raises:
        FlowManagerError: it cannot be done now.
    """
    await _thaw(services, record)
    if record.desired.archive is not None:
        file = BackupFile(services.shelf.root, PurePosixPath(record.desired.archive))
        await to_thread.run_sync(file.clear, record.desired.key)
    await services.ledger.note(record, job=Job.NONE, archive=None, frozen=False)


async def _thaw(services: Services, record: ContainerRecord) -> None:
    if record.desired.frozen and isinstance(services.backend, Snapshots):
        await services.backend.thaw(record.id)
        await services.ledger.note(record, frozen=False)
        await services.supervisor.look(record)


async def _thaw_or_tell(services: Services, record: ContainerRecord) -> None:
    """What cannot be done now is done when the containers are next compared."""
    try:
        await _thaw(services, record)
    except FlowManagerError as error:
        _tell(record, error)


async def _end_or_tell(services: Services, record: ContainerRecord) -> None:
    try:
        await end_backup(services, record)
    except FlowManagerError as error:
        _tell(record, error)


def _tell(record: ContainerRecord, error: FlowManagerError) -> None:
    _log.warning(
        "The end of a backup is put off", container_id=record.short_id, error=error.message
    )


def archive_body(file: BackupFile, archive: Archive, manifest: Manifest) -> dict[str, Any]:
    """An archive as clients are shown it."""
    return {
        "path": file.path,
        "size": archive.size,
        "made": timestamp(manifest.made),
        "backend": manifest.backend,
        "name": manifest.container["name"],
        "image": manifest.container["image"],
        "parts": [
            {
                "name": part.name,
                "kind": str(part.kind),
                "target": part.target,
                "size": archive.parts[part.name].size,
                "entries": archive.parts[part.name].entries,
                "sha256": archive.parts[part.name].sha256,
            }
            for part in manifest.parts
        ],
        "left_out": list(manifest.left_out),
    }


class _Backup:
    """One backup under way."""

    def __init__(
        self,
        services: Services,
        record: ContainerRecord,
        snapshots: Snapshots,
        request: BackupContainer,
        transfer: Transfer,
    ) -> None:
        self._services = services
        self._record = record
        self._snapshots = snapshots
        self._request = request
        self._transfer = transfer
        # One that somebody else has halted stays so.
        self._freezes = request.pause and record.made().state is ContainerState.RUNNING

    @asynccontextmanager
    async def noted(self, file: BackupFile) -> AsyncIterator[None]:
        """Have it written down that there is a backup, so that a later life can end it."""
        await self._services.ledger.note(
            self._record, job=Job.BACKUP, archive=str(file.name), frozen=self._freezes
        )
        try:
            yield
        finally:
            with anyio.move_on_after(WAY_BACK, shield=True):
                await _end_or_tell(self._services, self._record)

    async def run(self, draft: BackupDraft) -> tuple[Archive, Manifest]:
        """Write and check the archive."""
        manifest = await self._describe()
        writer = ArchiveWriter(
            draft.descriptor,
            self._transfer.gauge,
            made=int(manifest.made.timestamp()),
            limit=self._services.shelf.limit,
        )
        async with self._at_rest():
            written = await self._parts(writer, manifest)
        finish = partial(_finish, writer, dump(manifest.to_json(written)))
        await to_thread.run_sync(finish, abandon_on_cancel=True)
        # What cannot be read back is no backup: its container is still there to be saved again.
        archive = await self._transfer.verified(draft.descriptor)
        return archive, Manifest.read(archive)

    async def _describe(self) -> Manifest:
        services, record = self._services, self._record
        if record.endpoint is None:
            raise SystemFault("The container's channel is closed", retryable=True)
        attachment = record.endpoint.attachment(isolated=services.backend.isolated)
        snapshot = await self._snapshots.describe(record.id, attachment)
        manifest = Manifest(
            backend=services.backend_name,
            made=now(),
            container_id=record.short_id,
            container=payload_of(_with_terms(snapshot, record)),
            has_code=record.terms.has_code,
            parts=snapshot.parts,
            notes=snapshot.notes,
            left_out=snapshot.left_out,
        ).without(self._request.exclude)
        return self._with_code(manifest)

    def _with_code(self, manifest: Manifest) -> Manifest:
        """Code is in the file system; without that it is a part of its own."""
        has_ground = any(part.kind is PartKind.FILESYSTEM for part in manifest.parts)
        asked = PartKind.CODE not in self._request.exclude
        if has_ground or not asked or not manifest.has_code:
            return manifest
        return evolve(manifest, parts=(CODE, *manifest.parts))

    @asynccontextmanager
    async def _at_rest(self) -> AsyncIterator[None]:
        """Have the program halted, if it runs; whatever happens, it goes on afterwards."""
        if not self._freezes:
            yield
            return
        try:
            await self._snapshots.freeze(self._record.id)
            yield
        finally:
            with anyio.move_on_after(WAY_BACK, shield=True):
                await _thaw_or_tell(self._services, self._record)

    async def _parts(self, writer: ArchiveWriter, manifest: Manifest) -> dict[str, Written]:
        head = dump({"format": FORMAT, "made": timestamp(manifest.made)})
        await to_thread.run_sync(writer.add, HEAD, head)
        written = {}
        for part in manifest.parts:
            self._transfer.gauge.enter(f"save:{part.name}")
            work = partial(self._part, writer, part)
            written[part.name] = await self._transfer.watched(work)
        return written

    async def _part(self, writer: ArchiveWriter, part: Part) -> Written:
        sink = await to_thread.run_sync(writer.begin, part_member(part.name))
        await self._save(part, sink)
        return await to_thread.run_sync(writer.end, sink)

    async def _save(self, part: Part, sink: PartWriter) -> None:
        backend, record = self._services.backend, self._record
        if part.kind is PartKind.VOLUME:
            await check_sources(self._services, volumes_of(self._services, record))
        if part.kind is not PartKind.CODE:
            await self._snapshots.save(record.id, part, sink)
        elif isinstance(backend, CodeStore):
            async with working_folder(self._services, record) as folder:
                await backend.read_code(record.id, folder / "code.tar")
                copy = partial(_copy, folder / "code.tar", sink)
                await to_thread.run_sync(copy, abandon_on_cancel=True)


def _with_terms(snapshot: Snapshot, record: ContainerRecord) -> Any:
    """The spec with what the engine does not keep but the manager's label."""
    terms, spec = record.terms, snapshot.spec
    return evolve(
        spec,
        name=record.name,
        labels=client_labels(spec.labels),
        restart=terms.restart,
        health_check=terms.health_check,
        stop_timeout=terms.stop_timeout,
        code_path=None,
    )


def _finish(writer: ArchiveWriter, manifest: bytes) -> None:
    writer.add(MANIFEST, manifest)
    writer.finish()


def _copy(source: Path, sink: PartWriter) -> None:
    with source.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            sink.write(chunk)
