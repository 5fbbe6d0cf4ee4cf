"""Create a container: all checks first, then the channel, the image, the container, its code."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from flow_manager_core.answers import created_body
from flow_manager_core.contracts import ImagePuller
from flow_manager_core.desired import Job, Wish
from flow_manager_core.errors import EngineError, FlowManagerError, InvalidRequest, SystemFault
from flow_manager_core.events import ImagePullProgressed
from flow_manager_core.models import (
    Container,
    ContainerSpec,
    CreatePlan,
    Fault,
    PullPolicy,
    PullProgress,
)
from flow_manager_core.operations.create_checks import check_made, check_targets, checked_spec
from flow_manager_core.operations.placing import put_code
from flow_manager_core.operations.running import never_sent, start_run, unknown
from flow_manager_core.operations.undoing import close_channel, give_up, remove_made, strike
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import CreateContainer
from flow_manager_core.services import Services
from flow_manager_core.terms import fingerprint, labels_for, read_terms, terms_of
from flow_manager_core.trace import current_asker, current_request
from flow_manager_core.turns import Turn


def claim(services: Services, request: CreateContainer, payload: object) -> ContainerRecord:
    """Take the name, or find what the same request has made or is making.

    Raises:
        EngineError: the name is in use.
        InvalidRequest: the request id was used for another payload.
    """
    made = services.registry.with_request(request.request_id, current_asker())
    if made is not None:
        if made.terms.fingerprint != fingerprint(payload):
            raise InvalidRequest([Fault("request_id", "was used for a different create_container")])
        return made
    spec = request.spec(request.name or f"flow-{secrets.token_hex(4)}")
    terms = terms_of(spec, request.request_id, payload, current_asker())
    record = ContainerRecord(spec.name, terms)
    services.registry.reserve(record)
    return record


async def create_container(
    services: Services, record: ContainerRecord, request: CreateContainer, _turn: Turn
) -> dict[str, Any]:
    """Make a container; nothing of it remains if that fails.

    A failed start of a container that was made leaves it as it is, ``created``.
    """
    if record.gone:
        raise EngineError("What this request made was deleted meanwhile", retryable=True)
    if record.container is None:
        await _make(services, record, request)
        tell_created(services, record)
    if request.start and record.made().started_at is None:
        await start_made(services, record)
    return created_body(record)


async def start_made(services: Services, record: ContainerRecord) -> None:
    """Start what was just made; a failure of that leaves it as it is, ``created``."""
    try:
        await start_run(services, record)
    except FlowManagerError as error:
        error.about(container_id=record.short_id, name=record.name)
        raise
    services.reporter.done(record, "container_started", f"Container {record.name} started")


async def _make(services: Services, record: ContainerRecord, request: CreateContainer) -> None:
    spec = request.spec(record.name)
    async with AsyncExitStack() as undo:
        undo.callback(services.registry.drop, record)
        spec = await checked_spec(services, spec)
        # Before anything is made: a later life finishes it, or takes it away.
        await services.ledger.note(
            record, job=Job.CREATE, code_path=spec.code_path, start=request.start
        )
        undo.push_async_callback(strike, services, record)
        await services.channels.open(record)
        undo.push_async_callback(close_channel, services, record)
        await _fetch_image(services, spec)
        container = await make_in_engine(services, record, spec, undo)
        await put_code(services, record, container.id, spec.code_path)
        services.registry.admit(record, container)
        await made(services, record)
        undo.pop_all()


async def made(services: Services, record: ContainerRecord) -> None:
    """Record that a container is complete, and whether it is to run."""
    wish = Wish.UP if record.desired.start else Wish.DOWN
    await services.ledger.note(
        record, job=Job.NONE, wish=wish, code_path=None, container_id=record.id
    )


async def finish_create(services: Services, record: ContainerRecord) -> None:
    """Complete a container that a create left half made: it may lack its code.

    Raises:
        FlowManagerError: it cannot be completed.
    """
    await put_code(services, record, record.id, record.desired.code_path)
    await made(services, record)
    tell_created(services, record)


def tell_created(services: Services, record: ContainerRecord) -> None:
    """Tell the feed of a new container."""
    services.reporter.done(
        record, "container_created", f"Container {record.name} created", name=record.name
    )


async def _fetch_image(services: Services, spec: ContainerSpec) -> None:
    if spec.pull is PullPolicy.NEVER or not isinstance(services.backend, ImagePuller):
        return
    if spec.pull is PullPolicy.MISSING and await services.backend.has_image(spec.image):
        return

    def report(progress: PullProgress) -> None:
        services.reporter.tell(
            ImagePullProgressed(
                container_id="",
                image=progress.image,
                status=progress.status,
                layer=progress.layer,
                current=progress.current,
                total=progress.total,
                request_id=current_request(),
            )
        )

    with services.metrics.engine_call("pull"):
        await services.backend.pull(spec.image, report)


async def make_in_engine(
    services: Services, record: ContainerRecord, spec: ContainerSpec, undo: AsyncExitStack
) -> Container:
    """Have the engine make a container whose channel is open, just as it was asked to.

    Args:
        undo: gets what takes it away again.

    Raises:
        InvalidRequest: a volume lies where the channel is.
        EngineError: the engine refuses, or has made something else.
    """
    undo.push_async_callback(give_up, services, record)
    plan = _plan(services, record, spec)
    container = await _create(services, record, plan)
    undo.push_async_callback(remove_made, services, container)
    check_made(services, plan, container)
    return container


def _plan(services: Services, record: ContainerRecord, spec: ContainerSpec) -> CreatePlan:
    if record.endpoint is None:
        raise SystemFault("The container's channel was closed while it was being made")
    attachment = record.endpoint.attachment(isolated=services.backend.isolated)
    check_targets(spec, attachment)
    return CreatePlan(
        spec=spec,
        labels=labels_for(spec, services.settings.instance, record.terms),
        attachment=attachment,
    )


async def _create(services: Services, record: ContainerRecord, plan: CreatePlan) -> Container:
    try:
        return await services.retry(partial(_create_once, services, record, plan))
    except FlowManagerError as error:
        if not unknown(error):
            await services.ledger.strike(record)
        raise


async def _create_once(services: Services, record: ContainerRecord, plan: CreatePlan) -> Container:
    """Create, or find what an earlier try has made although its answer was lost."""
    try:
        with services.metrics.engine_call("create"):
            return await services.backend.create(plan)
    except EngineError as error:
        if never_sent(error):
            raise
        found = await _find(services, record)
        if found is None:
            raise
        return found


async def _find(services: Services, record: ContainerRecord) -> Container | None:
    """The container that this very create has made; one that was given up makes room for it."""
    for entry in await services.backend.list():
        if entry.name != record.name:
            continue
        found = await services.backend.inspect(entry.id)
        birth = read_terms(found.labels).birth
        if birth == record.terms.birth:
            return found
        if birth in services.ledger.strays:
            await services.backend.remove(entry.id)
            await services.ledger.forget(birth)
            raise EngineError(f"The name {record.name} was in use", retryable=True)
    return None
