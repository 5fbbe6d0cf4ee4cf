"""Make a container of a backup: check all of it, then make what a create makes, and fill it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from attrs import evolve, frozen

from flow_manager_core.answers import created_body
from flow_manager_core.backups.layout import refused
from flow_manager_core.backups.reading import Window
from flow_manager_core.contracts import CodeStore, Snapshots
from flow_manager_core.desired import Job
from flow_manager_core.errors import EngineError, InvalidRequest
from flow_manager_core.models import Container, ContainerSpec, Fault, Part, PartKind
from flow_manager_core.operations.backup import archive_body
from flow_manager_core.operations.create import made, make_in_engine, start_made
from flow_manager_core.operations.create_checks import checked_spec
from flow_manager_core.operations.placing import working_folder
from flow_manager_core.operations.transfers import Opened, Transfer, opened, snapshots_of
from flow_manager_core.operations.undoing import close_channel, strike
from flow_manager_core.operations.vetting import check_sources
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import RestoreContainer
from flow_manager_core.services import Services
from flow_manager_core.terms import fingerprint, terms_of
from flow_manager_core.trace import current_asker
from flow_manager_core.turns import Turn

T = TypeVar("T")

#: Bytes at a time into a file of our own.
COPIED = 1024 * 1024


async def restore_container(
    services: Services, _record: None, request: RestoreContainer, _turn: Turn
) -> dict[str, Any]:
    """Make a new container of an archive; nothing of it remains if that fails.

    Raises:
        InvalidRequest: the archive cannot be used, or asks for what this host has not; nothing was
            changed.
        EngineError: the name is in use, or the engine refuses.
    """
    snapshots = snapshots_of(services, "path")
    asked = fingerprint(_payload(request))
    if (known := services.registry.with_request(request.request_id, current_asker())) is not None:
        return await _known(known, asked)
    file = services.shelf.file(request.path)
    transfer = Transfer(services, file.path)
    with services.shelf.turn():
        async with opened(transfer, file) as found:
            record, spec = await _claim(services, request, found, asked)
            restore = _Restore(services, record, spec, request, snapshots, found, transfer)
            async with record.lock:
                await restore.run()
                told = f"Container {record.name} restored"
                services.reporter.done(
                    record, "container_restored", told, name=record.name, path=file.path
                )
                if request.start:
                    await start_made(services, record)
        body = archive_body(file, found.archive, found.manifest)
    return {**body, **created_body(record)}


def _payload(request: RestoreContainer) -> dict[str, Any]:
    """What names the request: the same again is the same restore."""
    return {
        "operation": request.operation,
        "path": request.path,
        "name": request.name,
        "start": request.start,
        "volumes": dict(request.volumes),
    }


async def _known(record: ContainerRecord, asked: str) -> dict[str, Any]:
    """The answer to a request that was sent before.

    Raises:
        InvalidRequest: its id was used for another one.
    """
    if record.terms.fingerprint != asked:
        raise InvalidRequest([Fault("request_id", "was used for a different request")])
    async with record.lock:
        return created_body(record)


async def _claim(
    services: Services, request: RestoreContainer, found: Opened, asked: str
) -> tuple[ContainerRecord, ContainerSpec]:
    """Check what the archive asks for, and take the name."""
    manifest = found.manifest
    if manifest.backend != services.backend_name:
        told = f"was made by the {manifest.backend} backend, and this is {services.backend_name}"
        raise refused(told)
    create = manifest.request(request.name, request.volumes)
    if create.name is None or create.code_path is not None or create.start:
        raise refused("its manifest cannot be read: it asks for more than a container")
    spec = create.spec(create.name)
    if manifest.has_code:
        # Not a folder of this host: it says that there is code, which is in the archive.
        spec = evolve(spec, code_path=request.path)
    spec = await checked_spec(services, spec, code_is_here=False)
    terms = terms_of(spec, request.request_id, None, current_asker())
    terms = evolve(terms, fingerprint=asked, restored=True)
    record = ContainerRecord(spec.name, terms)
    services.registry.reserve(record)
    return record, spec


@frozen
class _Restore:
    """One restore under way. The record's lock is held."""

    services: Services
    record: ContainerRecord
    spec: ContainerSpec
    request: RestoreContainer
    snapshots: Snapshots
    found: Opened
    transfer: Transfer

    async def run(self) -> None:
        """Make the container and all that it has, or nothing."""
        services, record = self.services, self.record
        async with AsyncExitStack() as undo:
            undo.callback(services.registry.drop, record)
            # Before anything is made: a later life takes away what it finds of it.
            await services.ledger.note(record, job=Job.GROUND, start=self.request.start)
            undo.push_async_callback(strike, services, record)
            await services.channels.open(record)
            undo.push_async_callback(close_channel, services, record)
            undo.push_async_callback(self._discard)
            image = await self._ground()
            # From here on the engine may make a container, even after this life.
            await services.ledger.note(record, job=Job.RESTORE)
            spec = evolve(self.spec, image=image or self.spec.image)
            container = await make_in_engine(services, record, spec, undo)
            await self._fill(container, laid=bool(image))
            services.registry.admit(record, container)
            await made(services, record)
            undo.pop_all()

    async def _discard(self) -> None:
        with anyio.CancelScope(shield=True):
            await self.services.discard(self.record.desired.key)

    async def _ground(self) -> str:
        """Lay the file system's image, where that comes before the container; name it."""
        for part in self.found.manifest.parts:
            if part.kind is PartKind.FILESYSTEM:
                key = self.record.desired.key
                snapshot = self.found.manifest.snapshot(self.spec)
                lay = partial(self.snapshots.ground, key, snapshot)
                return await self._moved(part, lay)
        return ""

    async def _fill(self, container: Container, *, laid: bool) -> None:
        self.transfer.container_id = container.id
        parts = [
            part
            for part in self.found.manifest.parts
            if not (laid and part.kind is PartKind.FILESYSTEM)
        ]
        if not self.request.overwrite:
            await check_sources(self.services, self.spec.volumes)
            await self._check_free(container, parts)
        for part in parts:
            await self._moved(part, partial(self._write, container.id, part))

    async def _moved(self, part: Part, work: Callable[[Window], Awaitable[T]]) -> T:
        """Give a part to whoever writes it, and see that it was the one that was checked."""
        member, gauge = self.found.archive.parts[part.name], self.transfer.gauge
        gauge.enter(f"restore:{part.name}", member.size)
        source = Window(self.found.descriptor, member.start, member.size, gauge)
        done = await self.transfer.watched(partial(work, source))
        # Not every backend reads all of it, such as an own file system's that it has itself.
        if source.tell() and await to_thread.run_sync(source.sha256) != member.sha256:
            raise refused("the archive was changed while it was read")
        return done

    async def _check_free(self, container: Container, parts: list[Part]) -> None:
        """Look at all places before anything is written to one."""
        places = {mount.target: mount.source for mount in self.spec.volumes}
        taken = [
            Fault(f"volumes.{places.get(part.target, part.target)}", "is not empty")
            for part in parts
            if part.kind is PartKind.VOLUME and await self.snapshots.occupied(container.id, part)
        ]
        if taken:
            raise InvalidRequest(
                taken, hint="Empty the folders, name others with volumes, or send overwrite: true"
            )

    async def _write(self, container_id: str, part: Part, source: Window) -> None:
        if part.kind is PartKind.VOLUME:
            await check_sources(self.services, self.spec.volumes)
        if part.kind is not PartKind.CODE:
            await self.snapshots.fill(container_id, part, source)
            return
        backend = self.services.backend
        if not isinstance(backend, CodeStore):
            raise EngineError("The backend keeps no code")
        async with working_folder(self.services, self.record) as folder:
            archive = folder / "code.tar"
            await to_thread.run_sync(_copy, source, archive, abandon_on_cancel=True)
            await backend.write_code(container_id, archive)


def _copy(source: Window, target: Any) -> None:
    with target.open("xb") as file:
        while chunk := source.read(COPIED):
            file.write(chunk)
