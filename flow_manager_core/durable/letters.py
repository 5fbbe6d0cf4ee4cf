"""A durable message to a flow, and how it stands in the journal.

On its way it is a line of JSON with what is known of it, and after that the frame's body as it goes
out. What has ended is one JSON object that says when and how; a message that arrived is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import orjson
from attrs import define, frozen

from flow_manager_core.journals import number_key
from flow_manager_core.jsontext import dumps

#: The field of a frame that holds its number.
SEQ = "seq"


class Status(StrEnum):
    """Where a durable message stands."""

    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"


class Reason(StrEnum):
    """Why a message never arrived."""

    TTL = "ttl"
    MAX_DELIVERIES = "max_deliveries"
    CONTAINER_DELETED = "container_deleted"


@frozen
class End:
    """How a message's way ended, and when (seconds since the epoch)."""

    status: Status
    at: float
    reason: str | None = None


@define(eq=False)
class Letter:
    """A message on its way. Times are seconds since the epoch.

    Args:
        number: its place in the order of acceptance, and its ``seq``.
        container_id: the engine's full id.
        at: when it was accepted.
        size: bytes of its frame's body.
        expires: when its way ends in any case; ``None``: never.
        max_deliveries: broken attempts that end its way; ``None``: none do.
        attempts: connections that ended while it was the first that had no acknowledgement.
        request_id: of the request that sent it.
        fingerprint: of what that request asked for.
        stored: whether it is in the journal.
        sent_at: when it was last written, in this life of the manager.
        body: its frame's body, where it need not be read from the journal.
        end: how its way ended; it is not sent any more.
        gone: its end is in the journal, or it never came to be in there.
    """

    number: int
    container_id: str
    at: float
    size: int
    expires: float | None = None
    max_deliveries: int | None = None
    attempts: int = 0
    request_id: str | None = None
    fingerprint: str = ""
    stored: bool = False
    sent_at: float | None = None
    body: bytes = b""
    end: End | None = None
    gone: bool = False

    @property
    def key(self) -> str:
        """Its key in the journal."""
        return number_key(self.number)

    @property
    def status(self) -> Status:
        """Where it stands."""
        if self.end is not None and self.gone:
            return self.end.status
        return Status.ACCEPTED if self.sent_at is None else Status.SENT

    def overdue(self, at: float) -> bool:
        """Whether its time has passed."""
        return self.expires is not None and self.expires <= at


#: What is kept of a message besides how its way ended.
HEAD = (
    *("container_id", "at", "size", "expires", "max_deliveries", "attempts"),
    *("request_id", "fingerprint"),
)


def row_of(letter: Letter, body: bytes) -> bytes:
    """What the journal keeps of a message on its way."""
    return dumps({name: getattr(letter, name) for name in HEAD}) + b"\n" + body


def letter_of(number: int, row: bytes) -> Letter:
    """Read a row, but for the body."""
    line, _, _ = row.partition(b"\n")
    return Letter(number=number, **orjson.loads(line), stored=True)


def body_of(row: bytes) -> bytes:
    """The frame's body in a row."""
    return row.partition(b"\n")[2]


def settled_row(letter: Letter, body: bytes) -> bytes:
    """What the journal keeps of a message whose way has ended; no body: it arrived."""
    assert letter.end is not None
    end = {"ended": letter.end.at, "status": letter.end.status, "reason": letter.end.reason}
    head = {name: getattr(letter, name) for name in HEAD}
    return b'%b,"message":%b}' % (dumps({**head, **end})[:-1], body or b"null")


def settled_of(number: int, row: bytes) -> tuple[Letter, Mapping[str, Any]]:
    """Read such a row: what is known of the message, and, if it never arrived, the message."""
    head = orjson.loads(row)
    end = End(Status(head.pop("status")), head.pop("ended"), head.pop("reason"))
    message = head.pop("message") or {}
    message.pop(SEQ, None)
    return Letter(number=number, **head, stored=True, end=end, gone=True), message


def message_of(body: bytes) -> Mapping[str, Any]:
    """The message as its sender wrote it, from a frame's body."""
    found: dict[str, Any] = orjson.loads(body)
    found.pop(SEQ, None)
    return found
