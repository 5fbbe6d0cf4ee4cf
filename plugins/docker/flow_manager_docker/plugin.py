"""The hook by which the core finds the Docker backend."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import BackendProvider
from flow_manager_docker.backend import DockerBackend
from flow_manager_docker.examination import CHECKS
from flow_manager_docker.onlooker import onlook
from flow_manager_docker.probe import probe
from flow_manager_docker.settings import DockerSettings

#: Above the embedded `process` backend: where an engine answers, it is taken.
RANK = 10

PROVIDER = BackendProvider(
    name="docker",
    summary="flows in containers of a Docker Engine",
    settings_class=DockerSettings,
    factory=DockerBackend.open,
    rank=RANK,
    probe=probe,
    onlook=onlook,
    checks=CHECKS,
)


@hookimpl
def flow_manager_container_backends() -> Sequence[BackendProvider]:
    """Offer the Docker backend."""
    return [PROVIDER]
