"""From the engine's description of a container to the core's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from flow_manager_core.models import (
    Container,
    ContainerState,
    Health,
    ListedContainer,
    Mount,
    PortMapping,
)
from flow_manager_docker.dialects import docker_state

#: Go's zero time: it stands for "never".
ZERO_YEAR = 1


def read_container(found: Mapping[str, Any]) -> Container:
    """Read the answer of ``GET /containers/{id}/json``."""
    state, config = found["State"], found["Config"]
    what = ContainerState(docker_state(state["Status"]))
    return Container(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        image=config["Image"],
        state=what,
        created=datetime.fromisoformat(found["Created"]),
        started_at=read_time(state["StartedAt"]),
        finished_at=None if what.alive else read_time(state["FinishedAt"]),
        exit_code=state["ExitCode"] if what.ended else None,
        oom_killed=bool(state["OOMKilled"]),
        error=state["Error"],
        health=_health(state),
        ports=_ports(found),
        mounts=_mounts(found),
        labels=dict(config["Labels"] or {}),
    )


def read_listed(found: Mapping[str, Any]) -> ListedContainer:
    """Read one entry of ``GET /containers/json``."""
    name = found["Names"][0] if found["Names"] else ""
    state = ContainerState(docker_state(found["State"]))
    return ListedContainer(found["Id"], name.removeprefix("/"), state)


def read_time(text: str) -> datetime | None:
    """Read RFC 3339 with nanoseconds; ``None`` for Go's zero time."""
    at = datetime.fromisoformat(text)
    return None if at.year == ZERO_YEAR else at


def _health(state: Mapping[str, Any]) -> Health:
    return Health(state.get("Health", {}).get("Status") or Health.NONE)


def _mounts(found: Mapping[str, Any]) -> tuple[Mount, ...]:
    """What is the host's; a volume of the engine's own has no place that a client chose."""
    return tuple(
        Mount(one["Source"], one["Destination"], read_only=not one["RW"])
        for one in found.get("Mounts") or ()
        if one["Type"] == "bind"
    )


def _ports(found: Mapping[str, Any]) -> tuple[PortMapping, ...]:
    """The asked ports; with the host ports of this run while there is one."""
    asked = found["HostConfig"]["PortBindings"] or {}
    actual = found["NetworkSettings"]["Ports"] or {}
    return tuple(
        _port(key, actual.get(key) or bindings) for key, bindings in asked.items() if bindings
    )


def _port(key: str, bindings: list[Mapping[str, str]]) -> PortMapping:
    number, _, protocol = key.partition("/")
    kind: Literal["tcp", "udp"] = "udp" if protocol == "udp" else "tcp"
    return PortMapping(int(number), int(bindings[0]["HostPort"] or 0), kind)
