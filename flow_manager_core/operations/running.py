"""Start, stop, restart and delete; and the two steps that other operations share with them."""

from __future__ import annotations

from typing import Any

from flow_manager_core.errors import ContainerNotFound, FlowManagerError
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import (
    DeleteContainer,
    RestartContainer,
    StartContainer,
    StopContainer,
)
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn


async def start_run(services: Services, record: ContainerRecord) -> None:
    """Start a run and take note of it. The record's lock is held.

    Raises:
        EngineError: the start failed; the container's state is as before.
    """
    record.asked_run = None
    record.wanted_up = True
    try:
        await services.backend.start(record.made().id)
    except FlowManagerError:
        services.supervisor.wake(record)
        raise
    await services.supervisor.look(record)


async def stop_run(services: Services, record: ContainerRecord, timeout: float) -> None:
    """End the run, if there is one, and take note of it. The record's lock is held.

    Whatever the looks find, nothing is started again by itself after this.
    """
    seen = await services.supervisor.look(record)
    services.recovery.cancel(record)
    if not seen.state.alive:
        return
    # Noted before the engine is asked: whatever the exit code will be, it was no crash.
    record.asked_run = seen.started_at
    await services.backend.stop(record.id, timeout)
    await services.supervisor.look(record)
    services.recovery.cancel(record)


def patience(record: ContainerRecord, timeout: float | None) -> float:
    """Seconds that a program gets to end: the request's word, else the container's own."""
    return record.terms.stop_timeout if timeout is None else timeout


async def start_container(
    services: Services, record: ContainerRecord, _request: StartContainer, _turn: Turn
) -> dict[str, Any]:
    """Start a container; one that runs is left as it is."""
    record.forgive()
    await start_run(services, record)
    services.reporter.note(record, "container_started", f"Container {record.name} started")
    return {"container_id": record.short_id, "status": "running"}


async def stop_container(
    services: Services, record: ContainerRecord, request: StopContainer, _turn: Turn
) -> dict[str, Any]:
    """Stop a container; one that does not run is left as it is."""
    record.wanted_up = False
    await stop_run(services, record, patience(record, request.timeout))
    services.reporter.note(record, "container_stopped", f"Container {record.name} stopped")
    return {"container_id": record.short_id, "status": "stopped"}


async def restart_container(
    services: Services, record: ContainerRecord, request: RestartContainer, _turn: Turn
) -> dict[str, Any]:
    """Stop a container if it runs, and start it."""
    record.forgive()
    await stop_run(services, record, patience(record, request.timeout))
    await start_run(services, record)
    services.reporter.note(record, "container_restarted", f"Container {record.name} restarted")
    return {"container_id": record.short_id, "status": "running"}


async def delete_container(
    services: Services, record: ContainerRecord, _request: DeleteContainer, _turn: Turn
) -> dict[str, Any]:
    """Let the program end in its own time, then remove the container and its channel."""
    answer = {"container_id": record.short_id, "status": "deleted"}
    await stop_run(services, record, record.terms.stop_timeout)
    services.supervisor.removing(record)
    try:
        await services.backend.remove(record.id)
    except ContainerNotFound:
        pass  # somebody else was faster; what was asked for is so
    except BaseException:
        services.supervisor.not_removed(record)
        raise
    await services.channels.close(record, remove=True)
    services.registry.drop(record)
    services.reporter.note(record, "container_deleted", f"Container {record.name} deleted")
    return answer
