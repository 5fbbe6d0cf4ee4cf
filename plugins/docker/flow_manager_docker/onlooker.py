"""The doctor's eyes on an engine: the backend's own reading, without its claim."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.utils import version_lt

from flow_manager_core.contracts import Onlooker
from flow_manager_core.errors import ContainerNotFound, EngineError
from flow_manager_core.models import Container, EngineInfo, LogLine
from flow_manager_core.providers import ProviderContext
from flow_manager_docker.backend import DockerBackend
from flow_manager_docker.calls import EngineCalls
from flow_manager_docker.dialects import UPGRADE
from flow_manager_docker.errors_map import Subject
from flow_manager_docker.labels import MANAGED
from flow_manager_docker.resources import group_of_streams

#: Seconds for one call: somebody waits before a terminal.
PATIENCE = 5.0


class DockerOnlooker(Onlooker):
    """Reads, and nothing else.

    Args:
        calls: threads of its own.
        backend: only methods that change nothing are called.
    """

    def __init__(self, calls: EngineCalls, backend: DockerBackend) -> None:
        self._calls = calls
        self._backend = backend

    async def ping(self) -> EngineInfo:
        info = await self._backend.ping()
        version = str(info.details["ApiVersion"] or MINIMUM_DOCKER_API_VERSION)
        if version_lt(version, MINIMUM_DOCKER_API_VERSION):
            told = f"The engine's API version {version} is too old"
            raise EngineError(f"{told}: {MINIMUM_DOCKER_API_VERSION} is needed", hint=UPGRADE)
        return info

    async def containers(self) -> Sequence[Container]:
        found = []
        for one in await self._backend.list():
            with suppress(ContainerNotFound):  # it was removed meanwhile
                found.append(await self._backend.inspect(one.id))
        return sorted(found, key=lambda container: container.name)

    async def names(self) -> Sequence[str]:
        filters = {"label": [f"{MANAGED}=true"]}
        found = await self._calls.quick(
            lambda client: client.api.containers(all=True, filters=filters), Subject()
        )
        return [name.removeprefix("/") for entry in found for name in entry["Names"]]

    async def tail(self, container_id: str, lines: int) -> Sequence[LogLine]:
        return await self._backend.logs(container_id, tail=lines, since=None)

    async def has_image(self, image: str) -> bool:
        return await self._backend.has_image(image)

    async def info(self) -> tuple[dict[str, Any], bool]:
        """What the engine says of itself, and whether it is on this host."""
        return await self._calls.quick(lambda client: (client.api.info(), client.local), Subject())

    async def described(self, container_id: str) -> dict[str, Any]:
        """The engine's whole description of a container."""
        found: dict[str, Any] = await self._calls.quick(
            lambda client: client.api.inspect_container(container_id),
            Subject(container_id=container_id),
        )
        return found

    async def log_in(self, registry: str, user: str, password: str) -> None:
        """Have the engine show a registry these credentials.

        Raises:
            EngineError: it, or the registry, refuses.
        """
        await self._calls.quick(
            lambda client: client.api.login(user, password, registry=registry, reauth=True),
            Subject(secrets=(password,)),
        )


@asynccontextmanager
async def onlook(context: ProviderContext) -> AsyncIterator[DockerOnlooker]:
    """Look on, for as long as the context lasts; the engine may be away."""
    calls = EngineCalls(context.settings, PATIENCE)
    async with group_of_streams() as group:
        backend = DockerBackend(context.settings, context.core, group)
        try:
            yield DockerOnlooker(calls, backend)
        finally:
            backend.close()
            calls.close()
