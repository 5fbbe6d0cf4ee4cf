"""The ability to back up and restore: one short method for each of the contract's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flow_manager_core.contracts import PartSink, PartSource, Snapshots
from flow_manager_core.models import Attachment, Part, Snapshot
from flow_manager_core.settings import Settings
from flow_manager_docker import snapshots
from flow_manager_docker.calls import EngineCalls
from flow_manager_docker.client import Abortable, EngineClient
from flow_manager_docker.errors_map import Subject
from flow_manager_docker.settings import DockerSettings

T = TypeVar("T")


class DockerSnapshots(Snapshots):
    """Half of the backend; the other half says how a container is found."""

    _settings: DockerSettings
    _core: Settings
    _calls: EngineCalls

    @abstractmethod
    async def _inspect(self, container_id: str) -> dict[str, Any]:
        """Look at a container of ours."""

    @abstractmethod
    async def _was_open(self) -> None:
        """Believe what the engine said of files, unless it is closing."""

    async def describe(self, container_id: str, attachment: Attachment) -> Snapshot:
        found = await self._inspect(container_id)
        limit = self._settings.pids_limit
        return await self._calls.quick(
            lambda c: snapshots.describe(c, found, attachment, limit),
            Subject(container_id=container_id, image=found["Config"]["Image"]),
        )

    async def freeze(self, container_id: str) -> None:
        await self._inspect(container_id)
        await self._calls.slow(lambda c: c.api.pause(container_id), _about(container_id))

    async def thaw(self, container_id: str) -> None:
        if (await self._inspect(container_id))["State"]["Paused"]:
            await self._calls.slow(lambda c: c.api.unpause(container_id), _about(container_id))

    async def save(self, container_id: str, part: Part, sink: PartSink) -> None:
        await self._inspect(container_id)
        handle = Abortable()
        try:
            await self._calls.stream(
                lambda c: snapshots.save(c, container_id, part, sink, handle),
                _about(container_id),
            )
        finally:
            handle.abort()
        await self._was_open()

    async def ground(self, key: str, snapshot: Snapshot, source: PartSource) -> str:
        timeout = self._core.backup_stall_timeout
        return await self._calls.stream(
            lambda c: snapshots.ground(c, key, snapshot, source, timeout),
            Subject(image=snapshot.spec.image),
        )

    async def occupied(self, container_id: str, part: Part) -> bool:
        return await self._on(container_id, lambda c, found: snapshots.occupied(c, found, part))

    async def fill(self, container_id: str, part: Part, source: PartSource) -> None:
        timeout = self._core.backup_stall_timeout
        await self._on(
            container_id, lambda c, found: snapshots.fill(c, found, part, source, timeout)
        )
        await self._was_open()

    async def discard(self, key: str) -> None:
        await self._calls.slow(lambda c: snapshots.discard(c, key), Subject())

    async def _on(
        self, container_id: str, work: Callable[[EngineClient, Mapping[str, Any]], T]
    ) -> T:
        found = await self._inspect(container_id)
        return await self._calls.stream(lambda c: work(c, found), _about(container_id))


def _about(container_id: str) -> Subject:
    return Subject(container_id=container_id)
