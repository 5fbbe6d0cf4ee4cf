"""Whether a container's program is there, asked before its first start.

With Docker's init as process 1 the engine starts the init, and a program that is not there looks
like a run that ended at once with code 127. Without it the engine refuses the start and leaves the
container ``created``, as the contract has it; this check does the same. Blocking.
"""

from __future__ import annotations

import json
import posixpath
from base64 import b64decode
from collections.abc import Hashable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from attrs import evolve
from docker.errors import APIError, NotFound

from flow_manager_core.errors import EngineError
from flow_manager_core.models import Container, ContainerState, CreatePlan
from flow_manager_docker.client import EngineClient
from flow_manager_docker.dialects import program_of
from flow_manager_docker.errors_map import START_HINT

#: What the engine gives a container whose image names no PATH.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Go's `os.ModeDir` and `os.ModeSymlink`, as the engine tells modes.
GO_FOLDER = 1 << 31
GO_LINK = 1 << 27
ANY_EXECUTE = 0o111

#: Programs that are remembered; the one longest known goes first.
REMEMBERED = 1024


class CommandCheck:
    """Refuses starts that cannot succeed, and remembers why, as the engine does of its own.

    An image never changes, so what it has is asked for once. For each folder of PATH the engine
    mounts the whole file system of a container: five such questions took a fifth of a create and
    start together. A container that has code or volumes is always asked for itself.
    """

    def __init__(self) -> None:
        self._refusals: dict[str, str] = {}
        self._plain: set[str] = set()
        self._there: dict[Hashable, None] = {}

    def made(self, container_id: str, plan: CreatePlan) -> None:
        """Take note of a container that was just made."""
        if not plan.spec.volumes and plan.spec.code_path is None:
            self._plain.add(container_id)

    def check(self, client: EngineClient, found: Mapping[str, Any]) -> None:
        """Look before a start.

        Args:
            found: what the engine says of the container.

        Raises:
            EngineError: there is no such program.
        """
        self.forget(found["Id"])
        if found["State"]["Status"] != "created" or not found["HostConfig"]["Init"]:
            return
        known = _program_key(found) if found["Id"] in self._plain else None
        there = known in self._there or is_there(client, found)
        if there is False:
            told = f"The container cannot start: it has no program {program_of(found)!r}"
            self._refusals[found["Id"]] = told
            raise EngineError(told, hint=START_HINT, container_id=found["Id"][:12])
        if there and known is not None:
            self._remember(known)

    def _remember(self, known: Hashable) -> None:
        self._there[known] = None
        for oldest in list(self._there)[:-REMEMBERED]:
            self._there.pop(oldest, None)

    def with_refusal(self, container: Container) -> Container:
        """Add the refusal to what the engine says of a container that never ran."""
        told = self._refusals.get(container.id)
        if told is None or container.state is not ContainerState.CREATED:
            return container
        return evolve(container, error=told)

    def forget(self, container_id: str) -> None:
        """Drop what is kept of a container."""
        self._refusals.pop(container_id, None)

    def gone(self, container_id: str) -> None:
        """Drop all that is kept of a container: it was removed."""
        self.forget(container_id)
        self._plain.discard(container_id)


def _program_key(found: Mapping[str, Any]) -> Hashable:
    """What says where the program of a container is that is its image; ``None``: it is not."""
    if any(mount["Type"] == "volume" for mount in found["Mounts"]):
        return None
    targets = tuple(sorted(mount["Destination"] for mount in found["Mounts"]))
    return found["Image"], targets, tuple(candidates(found))


def is_there(client: EngineClient, found: Mapping[str, Any]) -> bool | None:
    """Whether the program is there that a container would run; ``None``: the engine cannot tell.

    Args:
        found: what the engine says of the container.
    """
    try:
        return any(_executable(client, found["Id"], path) for path in candidates(found))
    except APIError:  # the start itself will say what is wrong with the container
        return None


def candidates(found: Mapping[str, Any]) -> Iterator[str]:
    """Where the program may be, in the order of the search."""
    name, config = program_of(found), found["Config"]
    if "/" in name:
        yield posixpath.join(config["WorkingDir"] or "/", name)
        return
    variables = dict(item.split("=", 1) for item in config["Env"] or () if "=" in item)
    for folder in variables.get("PATH", DEFAULT_PATH).split(":"):
        yield posixpath.join(config["WorkingDir"] or "/", folder, name)


def _executable(client: EngineClient, container_id: str, path: str) -> bool:
    stat = path_stat(client, container_id, path)
    if stat and stat["mode"] & GO_LINK:
        # The target is told resolved as far as it goes, as the container sees it.
        stat = path_stat(client, container_id, stat["linkTarget"])
    return bool(stat and stat["mode"] & ANY_EXECUTE and not stat["mode"] & GO_FOLDER)


def path_stat(client: EngineClient, container_id: str, path: str) -> dict[str, Any] | None:
    """Ask for what is at a path of a container; ``None`` when nothing is."""
    where = f"/containers/{quote(container_id, safe='')}/archive"
    try:
        with client.open("HEAD", where, params={"path": path}) as answer:
            return read_stat(answer.headers)
    except NotFound:
        return None


def read_stat(headers: Mapping[str, str]) -> dict[str, Any]:
    """Read the header in which the engine tells of a path."""
    stat: dict[str, Any] = json.loads(b64decode(headers["X-Docker-Container-Path-Stat"]))
    return stat
