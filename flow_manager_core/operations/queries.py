"""Status and list: what the engine says now, in the contract's shapes."""

from __future__ import annotations

from typing import Any

import anyio

from flow_manager_core.answers import list_entry, status_body
from flow_manager_core.contracts import ResourceMeter
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.models import ResourceUsage
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
    usage = await _look_and_measure(services, record)
    if record.state.alive and usage is None:
        # An engine elsewhere may have said nothing yet: the monitoring's last sample has to do.
        usage = services.monitor.latest(record)
    return status_body(record, usage if record.state.alive else None)


async def _look_and_measure(services: Services, record: ContainerRecord) -> ResourceUsage | None:
    """Do both at once, as neither needs the other; of two failures the look's is told."""
    usage: ResourceUsage | None = None
    failures: list[FlowManagerError] = []

    async def measure() -> None:
        nonlocal usage
        try:
            if record.state.alive and isinstance(services.backend, ResourceMeter):
                usage = await services.backend.usage(record.id)
        except FlowManagerError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(measure)
        try:
            await services.supervisor.look(record)
        except FlowManagerError as error:
            # Raised within the group, it would come out of it wrapped in an exception group.
            failures.insert(0, error)
            group.cancel_scope.cancel()
    if failures:
        raise failures[0]
    return usage


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
    return not labels or labels.items() <= client_labels(record.made().labels).items()
