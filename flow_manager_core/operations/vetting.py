"""Sees to it that containers get of the host what they may have: before a start, and after it.

The engine looks the source of a volume up anew at every start. Between the last check and that,
whoever can write to the folder above the source may have put a link there. Nothing can be held in
place for an engine, so what a run really sees is asked of the kernel once it is under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from anyio import to_thread

from flow_manager_core.contracts import HostPaths
from flow_manager_core.desired import Wish
from flow_manager_core.errors import EngineUnavailable, VolumeRefused
from flow_manager_core.log import get_log
from flow_manager_core.models import Mount
from flow_manager_core.paths import HostRules, refused_sources
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.services import Services

NAMELESS = "what this host cannot name"

_log = get_log("operations")


async def host_rules(services: Services) -> HostRules:
    """What containers may see of the host.

    Raises:
        EngineUnavailable: the engine does not say what it keeps; certainly unsent.
    """
    try:
        kept = await services.backend.kept() if isinstance(services.backend, HostPaths) else ()
    except EngineUnavailable as error:
        error.unsent = True  # of what is to follow
        raise
    return await to_thread.run_sync(HostRules.of, services.settings, kept)


async def check_sources(services: Services, volumes: Sequence[Mount]) -> None:
    """See where the sources of volumes lead just before the engine looks them up anew.

    Raises:
        VolumeRefused: to where they may not; nothing was done.
    """
    rules = await host_rules(services)
    if refused := await to_thread.run_sync(refused_sources, volumes, rules):
        raise VolumeRefused(f"Volumes that may not be: {'; '.join(refused)}")


async def start_vetted(services: Services, record: ContainerRecord) -> None:
    """Start a run, and end it at once if it sees what it may not. Costs nothing without volumes.

    Raises:
        VolumeRefused: a volume's source leads elsewhere now; nothing runs.
        EngineError: the start failed.
    """
    container = record.made()
    volumes = volumes_of(services, record)
    if not volumes:
        await _start(services, container.id)
        return
    await check_sources(services, volumes)
    record.unvetted = True
    await _start(services, container.id)
    await vet_run(services, record)


async def _start(services: Services, container_id: str) -> None:
    with services.metrics.engine_call("start"):
        await services.backend.start(container_id)


async def vet_run(services: Services, record: ContainerRecord) -> None:
    """Look at what the run under way sees of the host. The record's lock is held.

    Raises:
        VolumeRefused: something that it may not; it was ended.
        EngineUnavailable: cannot be told now.
    """
    if not isinstance(services.backend, HostPaths):
        return
    try:
        rules = await host_rules(services)
        found = await services.backend.mounted(record.id)
        wrong = _wrong(volumes_of(services, record), found or (), rules)
        if wrong:
            await _end(services, record)
    except EngineUnavailable as error:
        error.unsent = False  # there is a run
        raise
    record.unvetted = False
    if wrong:
        raise VolumeRefused(f"The run saw what it may not, and was ended: {'; '.join(wrong)}")


def volumes_of(services: Services, record: ContainerRecord) -> Sequence[Mount]:
    """What a client asked for, without what the channel needs."""
    if record.endpoint is None or not record.made().mounts:
        return record.made().mounts
    own = record.endpoint.attachment(isolated=services.backend.isolated).mounts
    targets = {mount.target for mount in own}
    return [mount for mount in record.made().mounts if mount.target not in targets]


def _wrong(
    volumes: Sequence[Mount], found: Sequence[tuple[str, Sequence[Path]]], rules: HostRules
) -> list[str]:
    told = []
    for mount in volumes:
        for target, names in found:
            if (
                target == mount.target
                or PurePosixPath(mount.target) in PurePosixPath(target).parents
            ):
                why = _refusal(names, rules, writes=not mount.read_only)
                told += [f"{target} was {why}"] if why else []
    return told


def _refusal(names: Sequence[Path], rules: HostRules, *, writes: bool) -> str | None:
    """Of one thing's names none may be kept back, and one must be allowed."""
    if not names:
        return NAMELESS
    kept = [name for name in names if rules.kept_fault(name, writes=writes)]
    if kept or all(rules.fault(name, writes=writes) for name in names):
        return str((kept or names)[0])
    return None


async def _end(services: Services, record: ContainerRecord) -> None:
    # No look may take this end for a crash.
    async with record.look_lock:
        await services.backend.stop(record.id, 0)
        run = (await services.backend.inspect(record.id)).started_at
        await services.ledger.note_at_least_here(record, asked_run=run, wish=Wish.DOWN)
    _log.error("A run saw what it may not, and was ended", container_id=record.short_id)
