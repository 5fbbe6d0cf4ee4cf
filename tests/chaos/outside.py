"""What the machine shows without the manager's help: containers, processes, files, descriptors."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from attrs import frozen

from tests.support.engine import DockerEngine

if TYPE_CHECKING:
    from tests.chaos.manager import Manager

INSTANCE_LABEL = "flow-manager.instance"


@frozen
class Seen:
    """One container as the engine, or the process backend's folder, has it.

    Args:
        pid: the host's number of the program's first process; 0: it does not run.
        error: the engine's word on why its latest start failed.
    """

    id: str
    name: str
    pid: int
    error: str = ""

    @property
    def short_id(self) -> str:
        """As clients are shown it."""
        return self.id[:12]


def containers(manager: Manager) -> dict[str, Seen]:
    """All containers of the manager's instance, by their short ids."""
    found = _docker(manager) if manager.backend == "docker" else _process(manager)
    return {one.short_id: one for one in found}


def _docker(manager: Manager) -> list[Seen]:
    import docker

    found = []
    with DockerEngine(manager.engine).client(30) as client:
        label = f"{INSTANCE_LABEL}={manager.instance}"
        for entry in client.containers(all=True, filters={"label": label}):
            with suppress(docker.errors.NotFound):
                body = client.inspect_container(entry["Id"])
                pid = body["State"]["Pid"] if body["State"]["Running"] else 0
                name, error = body["Name"].lstrip("/"), body["State"]["Error"]
                found.append(Seen(entry["Id"], name, pid, error))
    return found


def _process(manager: Manager) -> list[Seen]:
    root = manager.state_dir / "process" / quote(manager.instance, safe="")
    found = []
    for folder in root.iterdir() if root.is_dir() else ():
        body = _json(folder / "container.json")
        if body is not None and not folder.name.startswith("."):
            found.append(Seen(body["id"], body["name"], _pid(folder)))
    return found


def _pid(folder: Path) -> int:
    run, end = _json(folder / "run.json"), _json(folder / "exit.json")
    over = run is None or (end is not None and end["run"] >= run["run"])
    return 0 if run is None or over or not _ticks_are(run["pid"], run["pid_ticks"]) else run["pid"]


def _ticks_are(pid: int, ticks: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] not in "ZX" and int(fields[19]) == ticks


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def remove_all(manager: Manager) -> None:
    """End every flow of an instance, and remove its containers, behind its manager's back."""
    if manager.backend == "process":
        for one in _process(manager):
            if one.pid:
                os.kill(one.pid, signal.SIGKILL)
        return
    import docker

    with DockerEngine(manager.engine).client(60) as client:
        label = f"{INSTANCE_LABEL}={manager.instance}"
        for entry in client.containers(all=True, filters={"label": label}):
            with suppress(docker.errors.NotFound):
                remove(client, entry["Id"])


def channel_names(manager: Manager) -> set[str]:
    """The names for which something stands in the socket folder."""
    found = manager.socket_dir.iterdir() if manager.socket_dir.is_dir() else ()
    return {path.name.removesuffix(".new").rpartition(".")[0] or path.name for path in found}


def scraps(manager: Manager) -> list[str]:
    """What an operation's work area and the temporary folder hold."""
    places = [manager.state_dir / "instances" / manager.instance / "work"]
    if manager.backend == "process":
        places.append(manager.state_dir / "process" / manager.instance)
    found = [path for place in places if place.is_dir() for path in place.iterdir()]
    scrap = [p for p in found if p.parent.name == "work" or p.name.startswith(".")]
    return sorted(map(str, [*scrap, *manager.temp.glob("flow-manager-*")]))


def held(pid: int) -> Mapping[str, int]:
    """How many descriptors and threads a process has."""
    proc = Path(f"/proc/{pid}")
    return {kind: len(list((proc / folder).iterdir())) for kind, folder in _KINDS.items()}


_KINDS = {"descriptors": "fd", "threads": "task"}


def named(manager: Manager, name: str) -> Seen | None:
    """One container of the manager's instance."""
    return next((one for one in containers(manager).values() if one.name == name), None)


def remove(client: Any, container_id: str) -> None:
    """A deed for `by_engine`: take a container away, whatever it does."""
    client.remove_container(container_id, force=True, v=True)


def by_engine(manager: Manager, container_id: str, deed: Callable[[Any, str], None]) -> None:
    """Have Docker do something to a container."""
    with DockerEngine(manager.engine).client(10) as client:
        deed(client, container_id)
