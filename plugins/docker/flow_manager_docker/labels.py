"""The labels by which containers are found again."""

from __future__ import annotations

MANAGED = "flow-manager.managed"
INSTANCE = "flow-manager.instance"

#: Where a container's code is; the only label that this backend adds.
CODE_DIR = "flow-manager.code-dir"

#: Of an image that a restore has made: the image that the container was first made of.
ORIGIN = "flow-manager.origin"
PREFIX = "flow-manager."


def instance_filter(instance: str) -> list[str]:
    """The ``label`` filter of events: of several labels, Podman takes any and not all."""
    return [f"{INSTANCE}={instance}"]


def own_filter(instance: str) -> list[str]:
    """The engine's ``label`` filter that leaves one instance's containers alone."""
    return [f"{MANAGED}=true", f"{INSTANCE}={instance}"]
