"""What containers use, by the way that fits: the kernel's files, or the engine's own stats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from docker.errors import NotFound

from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.log import get_log
from flow_manager_core.models import ResourceUsage
from flow_manager_core.settings import Settings
from flow_manager_docker.calls import EngineCalls
from flow_manager_docker.client import EngineClient
from flow_manager_docker.errors_map import Subject
from flow_manager_docker.inspect_reading import read_time
from flow_manager_docker.settings import DockerSettings
from flow_manager_docker.stats_connection import Endpoint
from flow_manager_docker.stats_streams import StatsStreams
from flow_manager_docker.usage import Meter, Run

#: Rounds of monitoring that a stream outlasts without being asked for, and seconds at least.
IDLE_ROUNDS, IDLE = 2.5, 30.0

Inspect = Callable[[EngineClient, str], dict[str, Any]]


class Resources:
    """Measures containers.

    Args:
        inspect: asks the engine about a container of ours; blocks.
        group: holds the streams.
    """

    def __init__(
        self,
        calls: EngineCalls,
        settings: DockerSettings,
        core: Settings,
        inspect: Inspect,
        group: TaskGroup,
    ) -> None:
        self._calls = calls
        self._inspect = inspect
        self._meter = Meter()
        self._streams = StatsStreams(
            group,
            get_log("backend.docker"),
            most=settings.stats_streams,
            idle=max(IDLE, IDLE_ROUNDS * core.monitoring_interval),
            timeout=core.request_timeout,
        )
        # The engine does not move while the manager runs: ``DOCKER_HOST`` is read once and for all.
        self._endpoint: Endpoint | None = None

    async def measure(self, container_ids: Sequence[str]) -> Mapping[str, ResourceUsage]:
        """Measure running containers of ours: some 0.15 ms each, in one thread, or nothing at all.

        Raises:
            EngineError: the engine cannot say.
        """
        if self._endpoint is None:
            found = await self._calls.quick(lambda c: self._read(c, container_ids), Subject())
            if self._endpoint is None:
                return found
        return self._streams.ask(self._endpoint, container_ids)

    def forget(self, container_id: str) -> None:
        """Drop what is kept of a container."""
        self._meter.forget(container_id)
        self._streams.forget(container_id)

    def _read(self, client: EngineClient, container_ids: Sequence[str]) -> dict[str, ResourceUsage]:
        if not client.local:
            self._endpoint = Endpoint.of(client)
            return {}
        found = {each: self._read_one(client, each) for each in container_ids}
        return {each: usage for each, usage in found.items() if usage is not None}

    def _read_one(self, client: EngineClient, container_id: str) -> ResourceUsage | None:
        def find_run() -> Run | None:
            state = self._inspect(client, container_id)["State"]
            started = read_time(state["StartedAt"])
            return Run(state["Pid"], started) if state["Pid"] and started else None

        try:
            return self._meter.measure(container_id, find_run)
        except (NotFound, ContainerNotFound):
            return None


@asynccontextmanager
async def group_of_streams() -> AsyncIterator[TaskGroup]:
    """A task group whose tasks end with it; what is raised inside passes as it is."""
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        try:
            yield group
        except Exception as error:  # noqa: BLE001  # raised again below
            # Raised within the group, it would reach the caller wrapped in an exception group.
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
