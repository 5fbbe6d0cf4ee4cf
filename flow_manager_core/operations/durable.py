"""Durable messages: send them, ask where they stand, look after those that never arrived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from flow_manager_core.durable.letters import Letter, Status
from flow_manager_core.durable.outbox import Draft
from flow_manager_core.durable.settling import message_id_of
from flow_manager_core.errors import ContainerNotFound, EngineError, InvalidRequest
from flow_manager_core.models import Delivery, Fault, Message
from flow_manager_core.registry import SHORT, ContainerRecord
from flow_manager_core.requests import (
    DeleteUndeliverable,
    GetMessage,
    ListUndeliverable,
    ResendUndeliverable,
    SendMessage,
)
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn
from flow_manager_core.wire import timestamp

#: Bytes of messages in one answer; one message is in it, however large.
LISTED = 1024 * 1024


async def send_durable(
    services: Services, record: ContainerRecord, request: SendMessage
) -> dict[str, Any]:
    """Take a message in; the turn ends with that, so messages keep their order."""
    _still_there(record)
    draft = Draft(
        container_id=record.made().id,
        message=request.message.message(),
        ttl=request.ttl,
        max_deliveries=request.max_deliveries,
        request_id=request.request_id,
    )
    letter = await services.post.outbox.accept(draft)
    return _accepted(services, letter, draft.message)


def _still_there(record: ContainerRecord) -> None:
    record.made()
    if record.deleting:
        raise EngineError("The container is being removed", retryable=True)


def _accepted(services: Services, letter: Letter, message: Message) -> dict[str, Any]:
    """The answer, in which the status is that of the moment of acceptance."""
    body = {
        "container_id": letter.container_id[:SHORT],
        "message": message.to_json(),
        "message_id": message_id_of(services.post.outbox.epoch, letter.number),
        "delivery": str(Delivery.DURABLE),
        "status": str(Status.ACCEPTED),
    }
    waits = _waits_for(services, letter)
    return {**body, "waiting_for": waits} if waits else body


async def get_message(
    services: Services, _record: None, request: GetMessage, _turn: Turn
) -> dict[str, Any]:
    """Where a durable message stands."""
    number = _number(services, request.message_id)
    letter = services.post.outbox.waiting(number)
    if letter is None:
        found = await services.post.outbox.dead.find(number)
        # Its end may have been recorded while that was read, and only then be forgotten.
        letter = found[0] if found else services.post.outbox.waiting(number)
    if letter is None:
        raise _unknown()
    return {**_standing(letter, request.message_id), "waiting_for": _waits_for(services, letter)}


async def list_undeliverable(
    services: Services, _record: None, request: ListUndeliverable, _turn: Turn
) -> dict[str, Any]:
    """The messages that never arrived, oldest first, as many as an answer has room for."""
    wanted = _of_container(services, request.container_id)
    dead, messages, size = services.post.outbox.dead, list[Mapping[str, Any]](), 0
    found = await dead.read(wanted, request.offset, request.limit + 1)
    for letter, message in found[: request.limit]:
        size += letter.size
        if messages and size > LISTED:
            break
        name = message_id_of(services.post.outbox.epoch, letter.number)
        messages.append({**_standing(letter, name), "message": message})
    more = len(found) > len(messages)
    return {"messages": messages, "count": len(messages), "more": more, "total": len(dead)}


async def delete_undeliverable(
    services: Services, _record: None, request: DeleteUndeliverable, _turn: Turn
) -> dict[str, Any]:
    """Forget a message that never arrived."""
    dead, number = services.post.outbox.dead, _number(services, request.message_id)
    letter, _ = await dead.undeliverable(number)
    await services.reporter.store(dead.drop(number), urgent=True)
    dead.dropped(number)
    return {
        "message_id": request.message_id,
        "container_id": letter.container_id[:SHORT],
        "status": "deleted",
    }


async def resend_undeliverable(
    services: Services, _record: None, request: ResendUndeliverable, _turn: Turn
) -> dict[str, Any]:
    """Take a message in once more, under a new number, and forget that it never arrived.

    It has as much time as it had at first.
    """
    outbox, number = services.post.outbox, _number(services, request.message_id)
    letter, told = await outbox.dead.undeliverable(number)
    record = services.registry.with_id(letter.container_id)
    if record is None:
        raise ContainerNotFound("The message's container is no more")
    _still_there(record)
    message = Message(told["command"], told["data"], told.get("id"), told.get("reply_to"))
    draft = Draft(
        container_id=letter.container_id,
        message=message,
        ttl=None if letter.expires is None else letter.expires - letter.at,
        max_deliveries=letter.max_deliveries,
        request_id=request.request_id,
    )
    again = await outbox.accept(draft, outbox.dead.drop(number))
    outbox.dead.dropped(number)
    return {**_accepted(services, again, message), "former_message_id": request.message_id}


def _number(services: Services, message_id: str) -> int:
    epoch, _, number = message_id.rpartition("-")
    known = epoch == services.post.outbox.epoch and number.isascii() and number.isdigit()
    if not known or len(number) > SHORT:
        raise _unknown()
    return int(number)


def _unknown() -> InvalidRequest:
    told = "is no message's that is known, or it is no longer remembered"
    return InvalidRequest([Fault("message_id", told)])


def _of_container(services: Services, ref: str | None) -> Callable[[Letter], bool]:
    """Whether a message is for a container, which may be no more."""
    if ref is None:
        return lambda _: True
    try:
        full = services.registry.find(ref).id
    except ContainerNotFound:
        return lambda letter: letter.container_id.startswith(ref)
    return lambda letter: letter.container_id == full


def _standing(letter: Letter, message_id: str) -> dict[str, Any]:
    end = letter.end if letter.gone else None
    return {
        "message_id": message_id,
        "container_id": letter.container_id[:SHORT],
        "delivery": str(Delivery.DURABLE),
        "status": str(letter.status),
        "attempts": letter.attempts,
        "max_deliveries": letter.max_deliveries,
        "accepted_at": _time(letter.at),
        "sent_at": _time(letter.sent_at),
        "expires_at": _time(letter.expires),
        "ended_at": _time(end.at if end else None),
        "reason": end.reason if end else None,
    }


def _time(at: float | None) -> str | None:
    return None if at is None else timestamp(datetime.fromtimestamp(at, UTC))


def _waits_for(services: Services, letter: Letter) -> str | None:
    """What has to come for the message to go on; ``None``: it is on its way, or has ended."""
    if letter.gone or letter.end is not None:
        return None
    if services.post.outbox.box(letter.container_id).wake is not None:
        return "the flow's acknowledgement" if letter.sent_at else None
    record = services.registry.with_id(letter.container_id)
    if record is None or not record.connected:
        return "the flow to connect"
    return "a flow that says hello with durable"
