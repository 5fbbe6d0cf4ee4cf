"""What the book of operations says of one: what was asked, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
from attrs import asdict, evolve, fields, frozen

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.journals import Put, Table
from flow_manager_core.jsontext import dumps
from flow_manager_core.models import Fault
from flow_manager_core.trace import request_key
from flow_manager_core.wire import timestamp


class OperationState(StrEnum):
    """How far an operation has come."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    #: The manager was killed, and nobody can say what came of it.
    INTERRUPTED = "interrupted"


@frozen(kw_only=True)
class Asked:
    """A request that changes something, with an id of its asker's own.

    Args:
        digest: of the payload; the payload itself may hold secrets.
        by: who asked, as the log names it; empty for the host application.
        subject: the container as the payload names it; empty where it names none.
        code_path: the folder that the answer repeats.
        ends: whether it ends or removes something: a full disk has room for that.
    """

    operation: str
    request_id: str
    digest: str
    by: str = ""
    subject: str = ""
    code_path: str | None = None
    ends: bool = False

    @property
    def key(self) -> str:
        """Its key in the book."""
        return request_key(self.request_id, self.by)

    def must_be(self, operation: str, digest: str) -> None:
        """Pass if this is the same request as an earlier one.

        Raises:
            InvalidRequest: its id was used for another one.
        """
        if self.operation != operation:
            raise refused(f"was used for {operation}")
        if self.digest != digest:
            raise refused(f"was used for a different {operation}")


def refused(told: str) -> InvalidRequest:
    """The error for an id that cannot be used, or has no operation."""
    return InvalidRequest([Fault("request_id", told)])


@frozen(kw_only=True)
class Booked:
    """One entry. Times are seconds since the epoch.

    Args:
        container: the id of the container that it is about; else what it was asked for.
        birth: the mark of what it was to make, or of its container.
        run: the start of the run that was under way when it began.
        code_path: the folder that the answer repeats.
        attempts: how often it was begun, by requests of the same id.
        answer: what a success was answered with.
        error: the error object of a failure, or of what was cut off.
    """

    operation: str
    request_id: str
    digest: str
    by: str
    state: OperationState
    asked: float
    container: str = ""
    birth: str = ""
    run: str = ""
    code_path: str | None = None
    attempts: int = 1
    ended: float | None = None
    answer: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """Its key in the book."""
        return request_key(self.request_id, self.by)

    @property
    def put(self) -> Put:
        """The change that keeps it."""
        return Put(Table.OPERATIONS, self.key, dumps(asdict(self)))

    @classmethod
    def read(cls, value: bytes) -> Booked:
        """Read what `put` wrote; fields of a later version are left out."""
        body = orjson.loads(value)
        known = {each.name: body[each.name] for each in fields(cls) if each.name in body}
        return cls(**{**known, "state": OperationState(known["state"])})

    def succeeded(self, answer: Mapping[str, Any], container: str, now: float) -> Booked:
        """It came to this answer."""
        return evolve(
            self,
            state=OperationState.SUCCEEDED,
            container=container or self.container,
            answer=answer,
            error=None,
            ended=now,
        )

    def body(self) -> dict[str, Any]:
        """As clients get it."""
        return {
            "state": self.state,
            "operation": self.operation,
            "container_id": self.container[:12] or None,
            "by": self.by or None,
            "attempts": self.attempts,
            "asked_at": _shown(self.asked),
            "ended_at": None if self.ended is None else _shown(self.ended),
            "answer": self.answer,
            # Not "error": clients know a failed request by a field of that name.
            "failure": self.error,
        }


def _shown(seconds: float) -> str:
    return timestamp(datetime.fromtimestamp(seconds, UTC))
