"""Status and list: what the engine says now, in the contract's shapes."""

from __future__ import annotations

from typing import Any

from flow_manager_core.answers import list_entry, status_body
from flow_manager_core.contracts import ResourceMeter
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import GetContainerStatus, ListContainers
from flow_manager_core.services import Services
from flow_manager_core.terms import client_labels
from flow_manager_core.turns import Turn


async def get_container_status(
    services: Services, record: ContainerRecord, _request: GetContainerStatus, _turn: Turn
) -> dict[str, Any]:
    """Look at the container now."""
    record.made()
    await services.supervisor.look(record)
    usage = None
    if record.state.alive and isinstance(services.backend, ResourceMeter):
        # An engine elsewhere takes a second to say: then the monitoring's last sample has to do.
        usage = await services.backend.usage(record.id) or services.monitor.latest(record)
    return status_body(record, usage)


async def list_containers(
    services: Services, _record: None, request: ListContainers, _turn: Turn
) -> dict[str, Any]:
    """Compare with the engine's list first, so that the answer is true."""
    await services.supervisor.reconcile()
    found = [
        list_entry(record)
        for record in services.registry
        if request.state in (None, record.state) and _carries(record, request.labels)
    ]
    return {"containers": found, "count": len(found)}


def _carries(record: ContainerRecord, labels: dict[str, str]) -> bool:
    own = client_labels(record.made().labels)
    return labels.items() <= own.items()
