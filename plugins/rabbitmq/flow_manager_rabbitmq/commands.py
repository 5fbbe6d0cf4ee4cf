"""Commands as they come off the queue, and what they came to."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import anyio
from aiormq.abc import DeliveredMessage
from attrs import frozen

from flow_manager_core.models import Answer, Fault
from flow_manager_rabbitmq import jsontext

_NAME_LIMIT = 128


@frozen(kw_only=True)
class Command:
    """One message of the queue.

    Args:
        name: the operation; empty if the message names none.
        payload: as a session takes it.
        faults: why it cannot be carried out; then it is answered, and that is that.
        tag: what the broker knows this delivery by.
        identity: tells a command that is sent again from another one; ``None`` without a
            ``message_id`` or a ``correlation_id``.
        delivery_mode: 2 if the message was to survive the broker's end, and so shall the answer.
    """

    name: str
    payload: Any
    faults: tuple[Fault, ...]
    tag: int
    message_id: str | None
    identity: tuple[str, ...] | None
    redelivered: bool
    reply_to: str | None
    correlation_id: str | None
    delivery_mode: int

    @classmethod
    def of(cls, delivery: DeliveredMessage, limit: int) -> Command:
        """Read a message.

        Args:
            limit: bytes of its body.
        """
        properties = delivery.header.properties
        payload, faults = _read(delivery.body, limit)
        name = properties.message_type or ""
        if not 0 < len(name) <= _NAME_LIMIT:
            faults.append(Fault("type", f"must name an operation in 1 to {_NAME_LIMIT} characters"))
        number = properties.message_id
        if number and isinstance(payload, dict):
            payload = {"request_id": number, **payload}
        return cls(
            name=name[:_NAME_LIMIT],
            payload=payload,
            faults=tuple(faults),
            tag=delivery.delivery_tag or 0,
            message_id=number,
            identity=_identity(number, properties.correlation_id, name, delivery.body),
            redelivered=bool(delivery.redelivered),
            reply_to=properties.reply_to,
            correlation_id=properties.correlation_id,
            delivery_mode=properties.delivery_mode or 1,
        )


def _identity(
    number: str | None, correlation_id: str | None, name: str, body: bytes
) -> tuple[str, ...] | None:
    if not (number or correlation_id):
        return None
    return number or "", correlation_id or "", name, hashlib.sha256(body).hexdigest()


def _read(body: bytes, limit: int) -> tuple[Any, list[Fault]]:
    if len(body) > limit:
        return None, [Fault("payload", f"of {len(body)} bytes is over the limit of {limit}")]
    try:
        return jsontext.read(body), []
    except (ValueError, RecursionError) as error:
        return None, [Fault("payload", f"must be strict JSON in UTF-8: {str(error)[:200]}")]


class Outcome:
    """What one command comes to; known to all who wait for it once it is set."""

    def __init__(self) -> None:
        self._known = anyio.Event()
        self._answer: Answer

    def set(self, answer: Answer) -> None:
        """Let it be known."""
        self._answer = answer
        self._known.set()

    async def get(self) -> Answer:
        """Wait for it."""
        await self._known.wait()
        return self._answer


class Outcomes:
    """Outcomes of commands that the broker may send again, although this life has begun them.

    Args:
        limit: how many are kept; the oldest go first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[str, ...], Outcome] = OrderedDict()

    def of(self, command: Command) -> tuple[Outcome, bool]:
        """Find or begin a command's outcome; return also whether somebody is at it already."""
        if command.identity is None:
            return Outcome(), False
        known = self._kept.get(command.identity)
        if known is not None and command.redelivered:
            return known, True
        made = self._kept[command.identity] = Outcome()
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return made, False

    def acknowledged(self, command: Command) -> None:
        """Forget one that the broker will not send again."""
        if command.identity is not None:
            self._kept.pop(command.identity, None)
