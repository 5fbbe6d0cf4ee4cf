"""A durable message to a flow, and how it stands in the journal.

A row is a line of JSON with what is known of the message, and after it the frame's body, as it
goes out. What has ended has ``end`` in its line; a message that arrived leaves no body behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs
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


#: What a row's line holds, besides how the way ended.
HEAD = (
    *("container_id", "at", "size", "expires", "max_deliveries", "attempts"),
    *("request_id", "fingerprint"),
)


def row_of(letter: Letter, body: bytes) -> bytes:
    """What the journal keeps of a message."""
    head: dict[str, Any] = {name: getattr(letter, name) for name in HEAD}
    if letter.end is not None:
        head["end"] = attrs.asdict(letter.end)
    return dumps(head) + b"\n" + body


def letter_of(number: int, row: bytes) -> tuple[Letter, bytes]:
    """Read a row: the message as it is known, and its frame's body."""
    line, _, body = row.partition(b"\n")
    head = orjson.loads(line)
    end = head.pop("end", None)
    letter = Letter(number=number, **head, stored=True)
    if end is not None:
        letter.end, letter.gone = End(Status(end["status"]), end["at"], end["reason"]), True
    return letter, body


def message_of(body: bytes) -> Mapping[str, Any]:
    """The message as its sender wrote it, from a frame's body."""
    found: dict[str, Any] = orjson.loads(body)
    found.pop(SEQ, None)
    return found
