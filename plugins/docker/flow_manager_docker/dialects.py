"""What other engines say that speak Docker's language: the one place that knows their words.

Podman serves the Engine's API (`podman system service`), and differs in what is listed here. The
differences were seen with Podman 4.3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from flow_manager_core.models import Fault, Mount

#: What helps against an engine that is too old.
UPGRADE = "Upgrade the Docker Engine"


@frozen
class Dialect:
    """An engine of one make.

    Args:
        name: as operators know it.
        daemon: whether one process keeps the containers, so that its restart is another life of
            the engine, and dates that life by a network of its own that it makes anew.
        tails: whether it can give the last lines of a log: Podman then puts the pieces of lines
            together in the wrong order.
        commas: whether a mount's paths may hold one: Podman writes mounts as texts, and reads what
            follows a comma as options, another source among them.
        variables: what it puts into every container's environment by itself.
    """

    name: str
    daemon: bool
    tails: bool
    commas: bool
    variables: tuple[str, ...] = ()


DOCKER = Dialect("docker", daemon=True, tails=True, commas=True)

#: Each container has a keeper of its own (conmon); the service that answers may come and go.
PODMAN = Dialect(
    "podman",
    daemon=False,
    tails=False,
    commas=False,
    variables=(
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TERM=xterm",
        "container=podman",
    ),
)

#: Podman's own API answers beside Docker's, and each answer names its version.
PODMAN_HEADER = "Libpod-Api-Version"

#: What ends its answer of events after the past ones; one with an end in the past is empty.
PODMAN_NO_STREAM = {"stream": "false"}

#: What runs as process 1 when an init was asked for, as Podman's ``Path`` and ``Args`` show it;
#: Docker shows the program itself. From ``addContainerInitBinary`` of its specgen package.
PODMAN_INIT = ("/run/podman-init", "--")

#: Podman's states that Docker has no word for, as far as it does not translate them itself; from
#: ``ContainerStatus`` of its define package.
STATES = {
    "configured": "created",
    "initialized": "created",
    "stopping": "running",
    "stopped": "exited",
}


def dialect_of(headers: Mapping[str, str]) -> Dialect:
    """Tell the make from any answer's headers."""
    return PODMAN if PODMAN_HEADER in headers else DOCKER


def mount_faults(dialect: Dialect, mounts: Iterable[Mount]) -> list[Fault]:
    """Name the mounts that this make of engine would take for others."""
    if dialect.commas:
        return []
    told = "must not hold a comma: this engine takes what follows it for options"
    return [Fault(f"volumes.{m.source}", told) for m in mounts if "," in m.source + m.target]


def program_of(found: Mapping[str, Any]) -> str:
    """Name the program that a container runs, without an init.

    Args:
        found: what the engine says of the container.
    """
    words = (found["Path"], *found["Args"])
    inner = words[len(PODMAN_INIT) :] if words[: len(PODMAN_INIT)] == PODMAN_INIT else words
    return str(inner[0])


def docker_state(told: str) -> str:
    """Give a state the name that Docker has for it."""
    return STATES.get(told, told)
