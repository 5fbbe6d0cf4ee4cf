"""What the doctor asks of a Docker Engine, beyond whether it answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_manager_core.disk_check import room
from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.findings import (
    Check,
    Finding,
    NotExamined,
    Scene,
    error,
    fine,
    in_thread,
    warning,
)
from flow_manager_core.providers import ProviderContext
from flow_manager_docker.dialects import UPGRADE

if TYPE_CHECKING:
    from flow_manager_docker.onlooker import DockerOnlooker

#: Of Docker 20.10, the oldest that this is tested with.
TESTED_API = "1.41"
#: Seconds by which the engine's clock may differ: `until` and `since` of events are by its own.
SKEW = 5.0


def _onlook(context: ProviderContext) -> AbstractAsyncContextManager[DockerOnlooker]:
    # Imported on use, as in `plugin`.
    from flow_manager_docker.onlooker import onlook

    return onlook(context)


async def api(context: ProviderContext, _scene: Scene) -> Sequence[Finding]:
    """Hold the engine's API version against what is tested; what is too old does not answer."""
    from docker.utils import version_lt

    async with _onlook(context) as eyes:
        info = await eyes.ping()
    version = info.details["ApiVersion"]
    if info.name == "docker" and version_lt(version, TESTED_API):
        told = f"The API version {version} of the engine is older than {TESTED_API}"
        return [warning(f"{told}, the oldest that is tested", UPGRADE)]
    return [fine(f"version {version} of {info.name}")]


async def clock(context: ProviderContext, _scene: Scene) -> Sequence[Finding]:
    """Hold the engine's clock against this host's."""
    async with _onlook(context) as eyes:
        before = time.time()
        info, _local = await eyes.info()
        after = time.time()
    told_at = str(info.get("SystemTime", ""))
    if not told_at:
        raise NotExamined("the engine does not tell its time")
    theirs = datetime.fromisoformat(told_at).timestamp()
    skew = max(before - theirs, theirs - after, 0.0)
    if skew <= SKEW:
        return [fine("the engine's is this host's")]
    told = f"The engine's clock and this host's differ by {skew:.0f} seconds"
    remedy = "Set both clocks by NTP (timedatectl set-ntp true)"
    return [warning(told, remedy, details={"skew": round(skew, 1)})]


async def disk(context: ProviderContext, _scene: Scene) -> Sequence[Finding]:
    """Look at the disk of the engine's data, where it is this host's."""
    async with _onlook(context) as eyes:
        info, local = await eyes.info()
    root = Path(info.get("DockerRootDir") or "/nonexistent")
    if not local or not await in_thread(root.is_dir):
        raise NotExamined("the engine's data are not on this host")
    return await in_thread(lambda: list(room(root)))


async def mounts(context: ProviderContext, scene: Scene) -> Sequence[Finding]:
    """Find folders of the host that containers mount, and that are gone."""
    async with _onlook(context) as eyes:
        _, local = await eyes.info()
        if not local:
            raise NotExamined("the engine's folders are not on this host")
        described = []
        for container in scene.containers:
            with suppress(ContainerNotFound):  # it was removed meanwhile
                described.append(await eyes.described(container.id))
    socket_dir: Path = context.core.socket_dir.absolute()
    found = await in_thread(lambda: [f for one in described for f in _gone(one, socket_dir)])
    return found or [fine(f"those of {len(described)} containers are there")]


def _gone(described: dict[str, Any], socket_dir: Path) -> Iterator[Finding]:
    name, container_id = described["Name"].removeprefix("/"), described["Id"][:12]
    for mount in described["Mounts"]:
        source = Path(mount.get("Source") or "/")
        # The manager makes the channels' folders anew by itself.
        ours = socket_dir in source.parents
        if mount["Type"] == "bind" and not ours and not source.exists():
            told = f"The folder {source} that {name} ({container_id}) mounts does not exist"
            remedy = "Verify volume mounts and permissions: make the folder, or recreate it"
            details = {"container_id": container_id, "source": str(source)}
            yield error(told, remedy, details=details)


async def _credentials(context: ProviderContext, scene: Scene) -> Sequence[Finding]:
    from flow_manager_docker.credentials import credentials

    return await credentials(context, scene)


CHECKS = (
    Check(
        name="docker-api",
        asks="is the engine's API version one that is tested",
        look=api,
        needs_engine=True,
    ),
    Check(
        name="docker-clock",
        asks="do the engine's clock and this host's agree",
        look=clock,
        needs_engine=True,
    ),
    Check(
        name="docker-disk",
        asks="is there room where the engine keeps images and containers",
        look=disk,
        needs_engine=True,
    ),
    Check(
        name="docker-mounts",
        asks="are the folders there that containers mount",
        look=mounts,
        needs_engine=True,
    ),
    Check(
        name="docker-credentials",
        asks="can the registries' credentials be read, and do the registries take them",
        look=_credentials,
        needs_engine=True,
        seconds=30.0,
    ),
)
