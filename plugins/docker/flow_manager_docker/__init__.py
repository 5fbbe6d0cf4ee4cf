"""The Docker backend of Flow Manager: flows in containers of a Docker Engine."""

from __future__ import annotations

from flow_manager_docker.backend import DockerBackend
from flow_manager_docker.settings import DockerSettings

__all__ = ["DockerBackend", "DockerSettings"]
