"""What the manager does to its flows when it closes, if the operator wants them stopped."""

from __future__ import annotations

import anyio

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.log import get_log
from flow_manager_core.operations.running import stop_run
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.services import Services

#: Seconds beyond the flows' own time, for an engine that hangs.
SLACK = 1.0

_log = get_log("service")


async def stop_flows(services: Services) -> None:
    """Stop all flows; they are still wanted, so the next start brings them back."""
    timeout = services.settings.shutdown_timeout
    services.supervisor.leave_alone()
    services.recovery.close()
    with anyio.move_on_after(timeout + SLACK, shield=True):
        async with anyio.create_task_group() as group:
            for record in services.registry:
                if record.state.alive:
                    group.start_soon(_stop, services, record, timeout)


async def _stop(services: Services, record: ContainerRecord, timeout: float) -> None:
    try:
        async with record.lock:
            await stop_run(services, record, min(timeout, record.terms.stop_timeout))
    except FlowManagerError as error:
        _log.error("A flow was not stopped", container_id=record.short_id, error=error.message)
