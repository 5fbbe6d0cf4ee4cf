"""What the doctor asks of the sockets: their folder, what is left over, who is not connected."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from flow_manager_core.errors import ChannelError, FlowNotConnected
from flow_manager_core.findings import (
    Check,
    Finding,
    NotExamined,
    Scene,
    blocking,
    error,
    fine,
    warning,
)
from flow_manager_core.models import Container
from flow_manager_core.providers import ProviderContext
from flow_manager_unix_socket.mount_table import is_connected_there, mount_roots, process_with
from flow_manager_unix_socket.place import Place
from flow_manager_unix_socket.private_folder import folder_fault
from flow_manager_unix_socket.socket_table import connections, device_of
from flow_manager_unix_socket.transport import MOST_PATH_BYTES

#: Seconds since the last change in which a place may belong to a create that is under way.
YOUNG = 60.0
#: What the names of a place's two parts end with.
ENDINGS = (".sock", ".d")
#: Bytes that a container's name should be able to have of a socket's path.
USUAL_NAME = 32


def folder(context: ProviderContext, _scene: Scene) -> Sequence[Finding]:
    """Whether the folder of all sockets is ours alone, or can be made."""
    root: Path = context.core.socket_dir.absolute()
    remedy = "Verify socket file permissions, or set socket_dir to another folder"
    try:
        fault = folder_fault(root)
    except OSError as problem:
        fault = f"{root} cannot be looked at: {problem.strerror}"
    if fault is None and not os.access(_there(root), os.W_OK | os.X_OK):
        fault = f"{_there(root)} cannot be written"
    if fault:
        return [error(fault, remedy, details={"folder": str(root)})]
    length = len(os.fsencode(Place(root, "x" * USUAL_NAME).address))
    if length > MOST_PATH_BYTES:
        room = max(0, USUAL_NAME - (length - MOST_PATH_BYTES))
        told = f"{root} is so long a path that containers' names may have {room} bytes"
        return [warning(told, "Set socket_dir to a folder with a shorter path")]
    return [fine(str(root) if root.exists() else f"{root} will be made at the start")]


def _there(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if one.exists())


def leftovers(context: ProviderContext, scene: Scene) -> Sequence[Finding]:
    """Find sockets and folders of containers that nobody knows any more."""
    if scene.known is None:
        raise NotExamined("it is not known which containers there are")
    root: Path = context.core.socket_dir.absolute()
    names = _names(root)
    found = [_stale(root, name) for name in sorted(names - scene.known) if _is_left(root, name)]
    return found or [fine(f"{len(names)} in {root}, none left over")]


def _names(root: Path) -> set[str]:
    try:
        entries = os.listdir(root)
    except FileNotFoundError:
        return set()
    except OSError as problem:
        raise NotExamined(f"{root} cannot be read: {problem.strerror}") from None
    return {e.removesuffix(end) for e in entries for end in ENDINGS if e.endswith(end)}


def _is_left(root: Path, name: str) -> bool:
    """Whether nobody listens there, has it mounted, or has made it just now."""
    place = Place(root, name)
    parts = [place.folder, place.address, place.socket]
    changes = [os.lstat(part).st_mtime for part in parts if os.path.lexists(part)]
    if not changes or time.time() - max(changes) < YOUNG:
        return False
    if process_with(place.folder, mount_roots()) is not None:
        return False
    try:
        return not place.is_served()
    except ChannelError:  # the check of the folder tells of it
        return False


def _stale(root: Path, name: str) -> Finding:
    address = Place(root, name).address
    return warning(
        f"A stale socket is left over: {address}; no container has this name, nobody listens",
        f"Clean up the socket: flow-manager doctor --fix, or rm -r {address} {root / name}.d",
        details={"name": name, "socket": str(address)},
        fix=partial(_clean_up, root, name),
    )


def _clean_up(root: Path, name: str) -> str:
    place = Place(root, name)
    if not _is_left(root, name):
        return f"{place.address} is gone, or in use again: left alone"
    place.remove()
    return f"removed {place.address} and {place.folder}"


def channels(context: ProviderContext, scene: Scene) -> Sequence[Finding]:
    """Find flows that run, and never opened their channel."""
    if scene.service is None:
        raise NotExamined("no manager of this instance runs, so no channel is open")
    _same_network(scene.service)
    grown = [c for c in scene.containers if _is_grown(c, context.core.reconnect_timeout)]
    root: Path = context.core.socket_dir.absolute()
    within = _from_within(root, grown) if scene.isolated else set()
    found = list(_unconnected(root, grown, connections(), within))
    return found or [fine(f"{len(grown)} running flows are connected")]


def _is_grown(container: Container, seconds: float) -> bool:
    started = container.started_at
    if not container.state.alive or started is None:
        return False
    return (datetime.now(UTC) - started).total_seconds() > seconds


def _same_network(pid: int) -> None:
    try:
        same = os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        raise NotExamined("the service is another user's: run as that user") from None
    if not same:
        raise NotExamined("the service is in another network namespace: run the doctor there")


def _unconnected(
    root: Path,
    grown: Sequence[Container],
    open_now: Counter[tuple[int, int]],
    within: Collection[str],
) -> Iterator[Finding]:
    for container in grown:
        path = Place(root, container.name).socket
        details = {"container_id": container.short_id, "name": container.name}
        who = f"The container {container.name} ({container.short_id}) runs"
        if not os.path.lexists(path):
            told = f"{who}, and its socket file does not exist: {path}"
            yield error(told, "Restart the Flow Manager service", details=details)
        elif container.name not in within and not open_now[_number(path)]:
            told = f"{who}, but is not connected to its socket {path}"
            yield warning(told, FlowNotConnected.default_hint, details=details)


def _number(path: Path) -> tuple[int, int]:
    """A file as the table of sockets names it."""
    status = os.lstat(path)
    device = device_of(os.major(status.st_dev), os.minor(status.st_dev))
    return status.st_ino & 0xFFFFFFFF, device


def _from_within(root: Path, containers: Sequence[Container]) -> set[str]:
    """Name those that are connected from a network namespace of their own, or cannot be seen."""
    roots = mount_roots()
    processes = {c.name: process_with(Place(root, c.name).folder, roots) for c in containers}
    return {
        name
        for name, pid in processes.items()
        if pid is None or is_connected_there(pid) is not False
    }


CHECKS = (
    Check(
        name="socket-folder",
        asks="can the folder of the channels' sockets be used",
        look=blocking(folder),
    ),
    Check(
        name="sockets",
        asks="are sockets or folders of channels left over",
        look=blocking(leftovers),
    ),
    Check(
        name="channels",
        asks="is every running flow connected",
        look=blocking(channels),
        needs_engine=True,
    ),
)
