"""The hook by which the core finds the Docker backend."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from flow_manager_core.contracts import ContainerBackend, Onlooker
from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import BackendProvider, ProviderContext
from flow_manager_docker.examination import CHECKS
from flow_manager_docker.settings import DockerSettings

#: Above the embedded `process` backend: where an engine answers, it is taken.
RANK = 10


def _open(context: ProviderContext) -> AbstractAsyncContextManager[ContainerBackend]:
    # Imported on use, here and below: listing plugins must not cost the import of Docker's SDK.
    from flow_manager_docker.backend import DockerBackend

    return DockerBackend.open(context)


async def _probe(context: ProviderContext) -> str | None:
    from flow_manager_docker.probe import probe

    return await probe(context)


def _onlook(context: ProviderContext) -> AbstractAsyncContextManager[Onlooker]:
    from flow_manager_docker.onlooker import onlook

    return onlook(context)


PROVIDER = BackendProvider(
    name="docker",
    summary="flows in containers of a Docker Engine",
    settings_class=DockerSettings,
    factory=_open,
    rank=RANK,
    probe=_probe,
    onlook=_onlook,
    checks=CHECKS,
)


@hookimpl
def flow_manager_container_backends() -> Sequence[BackendProvider]:
    """Offer the Docker backend."""
    return [PROVIDER]
