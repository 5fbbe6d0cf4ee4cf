"""Checks of what the host has left: room on disks, memory, file descriptors. All block."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path

from flow_manager_core.disk_check import MIB, RESOURCES, room
from flow_manager_core.doctor.state_checks import nearest
from flow_manager_core.doctor.study import Study
from flow_manager_core.findings import Finding, NotExamined, Scene, error, fine, warning
from flow_manager_core.logs import log_path

#: Bytes; a manager with its event loop and buffers takes some 100 MB.
LITTLE_MEMORY, NO_MEMORY = 256 * MIB, 64 * MIB
#: Descriptors: a flow takes three (its socket, its connection, its keeper), a client one.
FEW_DESCRIPTORS = 1024
#: Shares of a limit that are used.
MUCH, ALL = 0.8, 0.95


def disk(study: Study, _scene: Scene) -> Sequence[Finding]:
    """Whether there is room wherever the manager writes."""
    settings = study.configuration.settings
    log = log_path(settings)
    wanted = [settings.state_dir, settings.socket_dir, *([log.absolute()] if log else [])]
    folders = {nearest(path).stat().st_dev: nearest(path) for path in reversed(wanted)}
    found = [finding for folder in folders.values() for finding in room(folder)]
    return [one for one in found if one.remedy] or found


def memory(_study: Study, _scene: Scene) -> Sequence[Finding]:
    """What the kernel says can still be had."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (free,) = [int(n.split()[1]) * 1024 for n in lines if n.startswith("MemAvailable:")]
    except (OSError, ValueError):
        raise NotExamined("this system does not say what memory is left") from None
    told = f"{free // MIB} MiB of memory are left"
    if free >= LITTLE_MEMORY:
        return [fine(told)]
    kind = error if free < NO_MEMORY else warning
    remedy = f"{RESOURCES}: stop what is not needed, limit containers (resources.memory)"
    return [kind(f"Memory is short: {told}", remedy, details={"free": free})]


def descriptors(study: Study, _scene: Scene) -> Sequence[Finding]:
    """How many a manager may have, and how many the one that runs has."""
    limit, used = _of_service(study.service)
    if used is not None and used > MUCH * limit:
        kind = error if used > ALL * limit else warning
        told = f"The service has {used} of {limit} file descriptors open"
        return [kind(told, _raise(), details={"limit": limit, "used": used})]
    if limit < FEW_DESCRIPTORS:
        told = f"{limit} file descriptors are few: a flow takes three, a client one"
        return [warning(told, _raise(), details={"limit": limit, "used": used})]
    used_told = "" if used is None else f", of which the service uses {used}"
    return [fine(f"{limit} are allowed{used_told}")]


def _raise() -> str:
    return "Raise the limit: ulimit -n, or LimitNOFILE of the systemd service; restart the service"


def _of_service(pid: int | None) -> tuple[int, int | None]:
    """The limit and the use of the service; our own limit, which it would get, where none runs."""
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if pid is None:
        return own, None
    folder = Path(f"/proc/{pid}")
    try:
        limits = (folder / "limits").read_text().splitlines()
        (line,) = [one for one in limits if one.startswith("Max open files")]
        return int(line.split()[3]), len([*(folder / "fd").iterdir()])
    except (OSError, ValueError):  # another user's, or it has ended
        return own, None
