"""What the engine remembers of one instance's containers. Blocking."""

from __future__ import annotations

from flow_manager_core.models import EngineEvent
from flow_manager_docker.client import EngineClient
from flow_manager_docker.events import memory_parameters, read_event


def recall(client: EngineClient, instance: str) -> list[EngineEvent]:
    """Read the engine's memory, oldest first."""
    query = memory_parameters(instance, client.api.info()["SystemTime"], client.dialect)
    with client.open("GET", "/events", params=query) as stream:
        found = [read_event(told) for told in stream.objects()]
    return [event for event in found if event is not None]
