"""The Docker backend of Flow Manager: flows in containers of a Docker Engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_manager_docker.settings import DockerSettings

if TYPE_CHECKING:
    from flow_manager_docker.backend import DockerBackend

__all__ = ["DockerBackend", "DockerSettings"]


def __getattr__(name: str) -> Any:
    """Import on use: who only lists the plugins, or chose another, needs no Docker SDK.

    Raises:
        AttributeError: there is nothing of this name.
    """
    if name == "DockerBackend":
        from flow_manager_docker.backend import DockerBackend

        return DockerBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
