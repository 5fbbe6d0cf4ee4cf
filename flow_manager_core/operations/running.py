"""Start, stop, restart and delete; and the two steps that other operations share with them."""

from __future__ import annotations

from functools import partial
from typing import Any

from flow_manager_core.desired import Wish
from flow_manager_core.errors import (
    ContainerNotFound,
    EngineUnavailable,
    FlowManagerError,
    VolumeRefused,
)
from flow_manager_core.operations.vetting import start_vetted
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import (
    DeleteContainer,
    RestartContainer,
    StartContainer,
    StopContainer,
)
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn


async def start_run(
    services: Services,
    record: ContainerRecord,
    *,
    refused: Wish = Wish.DOWN,
    patient: bool = True,
) -> None:
    """Start a run and take note of it. The record's lock is held.

    An engine that does not say what came of it is asked again when it answers.

    Args:
        refused: what is wished when the engine will not start it; a failure that may pass changes
            no wish.
        patient: whether a passing failure is tried again here.

    Raises:
        VolumeRefused: the run would see, or saw, what it may not of the host; it is not to run.
        EngineError: the start failed; the container's state is as before.
    """
    before = record.desired.wish
    await services.ledger.note(record, wish=Wish.UP, asked_run=None)
    record.engine_life = services.supervisor.engine.life
    start = partial(start_vetted, services, record)
    try:
        await (services.retry(start) if patient else start())
    except VolumeRefused:
        await services.ledger.note_at_least_here(record, wish=Wish.DOWN)
        services.supervisor.wake(record)
        raise
    except FlowManagerError as error:
        wish = Wish.UP if unknown(error) else before if error.retryable else refused
        await services.ledger.note_at_least_here(record, wish=wish)
        services.supervisor.wake(record)
        raise
    await services.supervisor.look(record)


async def stop_run(
    services: Services, record: ContainerRecord, timeout: float, **intent: Any
) -> None:
    """End the run, if there is one, and take note of it. The record's lock is held.

    Whatever the looks find, nothing is started again by itself after this.

    Args:
        intent: changes of the desired state, recorded before the engine is asked to stop.
    """
    seen = await services.supervisor.look(record)
    services.recovery.cancel(record)
    before = record.desired
    if not seen.state.alive:
        await services.ledger.note(record, **intent)
        return
    # Noted before the engine is asked: whatever the exit code will be, it was no crash.
    await services.ledger.note(record, asked_run=seen.started_at, **intent)
    try:
        await services.retry(partial(_stop, services, record.id, timeout))
    except FlowManagerError as error:
        if not unknown(error):
            changed = {name: getattr(before, name) for name in ("asked_run", *intent)}
            await services.ledger.note_at_least_here(record, **changed)
        raise
    await services.supervisor.look(record)
    services.recovery.cancel(record)


async def _stop(services: Services, container_id: str, timeout: float) -> None:
    with services.metrics.engine_call("stop"):
        await services.backend.stop(container_id, timeout)


async def _remove(services: Services, container_id: str) -> None:
    with services.metrics.engine_call("remove"):
        await services.backend.remove(container_id)


def unknown(error: FlowManagerError) -> bool:
    """Whether nobody can say what came of a call: it may be done yet."""
    return isinstance(error, EngineUnavailable) and not error.unsent


def never_sent(error: FlowManagerError) -> bool:
    """Whether the engine certainly never heard of a call."""
    return isinstance(error, EngineUnavailable) and error.unsent


def patience(record: ContainerRecord, timeout: float | None) -> float:
    """Seconds that a program gets to end: the request's word, else the container's own."""
    return record.terms.stop_timeout if timeout is None else timeout


async def start_container(
    services: Services, record: ContainerRecord, _request: StartContainer, _turn: Turn
) -> dict[str, Any]:
    """Start a container; one that runs is left as it is."""
    # An end that was not noticed yet is told before a new run hides it.
    await services.supervisor.look(record)
    services.recovery.cancel(record)
    record.forgive()
    await start_run(services, record)
    services.reporter.done(record, "container_started", f"Container {record.name} started")
    return {"container_id": record.short_id, "status": "running"}


async def stop_container(
    services: Services, record: ContainerRecord, request: StopContainer, _turn: Turn
) -> dict[str, Any]:
    """Stop a container; one that does not run is left as it is."""
    await stop_run(services, record, patience(record, request.timeout), wish=Wish.DOWN)
    services.reporter.done(record, "container_stopped", f"Container {record.name} stopped")
    return {"container_id": record.short_id, "status": "stopped"}


async def restart_container(
    services: Services, record: ContainerRecord, request: RestartContainer, _turn: Turn
) -> dict[str, Any]:
    """Stop a container if it runs, and start it."""
    record.forgive()
    await stop_run(services, record, patience(record, request.timeout), wish=Wish.UP)
    await start_run(services, record)
    services.reporter.done(record, "container_restarted", f"Container {record.name} restarted")
    return {"container_id": record.short_id, "status": "running"}


async def delete_container(
    services: Services, record: ContainerRecord, _request: DeleteContainer, _turn: Turn
) -> dict[str, Any]:
    """Let the program end in its own time, then remove the container and its channel."""
    answer = {"container_id": record.short_id, "status": "deleted"}
    before = record.desired.wish
    try:
        await finish_delete(services, record)
    except FlowManagerError as error:
        if not record.gone and not unknown(error):
            await services.ledger.note_at_least_here(record, wish=before)
        raise
    return answer


async def finish_delete(services: Services, record: ContainerRecord) -> None:
    """Remove a container with all that belongs to it. The record's lock is held.

    Raises:
        EngineError: the engine refuses, or is away.
    """
    await stop_run(services, record, record.terms.stop_timeout, wish=Wish.GONE)
    services.supervisor.removing(record)
    try:
        await services.retry(partial(_remove, services, record.id))
    except ContainerNotFound:
        pass  # somebody else was faster; what was asked for is so
    except BaseException:
        services.supervisor.not_removed(record)
        raise
    await services.channels.close(record, remove=True)
    services.registry.drop(record)
    await services.post.end(record.id)
    if record.terms.restored:
        await services.discard(record.desired.key)
    await services.ledger.forget(record.desired.key)
    services.reporter.done(record, "container_deleted", f"Container {record.name} deleted")
