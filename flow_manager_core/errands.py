"""One request on its way through the house."""

from __future__ import annotations

from attrs import frozen

from flow_manager_core.booked import Asked
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.operations.operation import Operation
from flow_manager_core.requests import Request
from flow_manager_core.terms import fingerprint
from flow_manager_core.trace import current_asker
from flow_manager_core.turns import Turns


@frozen
class Errand:
    """A request that is well formed, and that its asker may make.

    Args:
        turns: the queue of the client that asks.
        asked: what the book notes of it; ``None`` for one that is not noted.
    """

    operation: Operation
    request: Request
    payload: object
    turns: Turns
    asked: Asked | None

    @classmethod
    def of(cls, operation: Operation, request: Request, payload: object, turns: Turns) -> Errand:
        """Only what changes something is noted: the ids of other requests may be used again."""
        asked = None
        if operation.verb is not None and request.request_id is not None:
            asked = Asked(
                operation=operation.name,
                request_id=request.request_id,
                digest=fingerprint(payload),
                by=current_asker() or "",
                subject=getattr(request, "container_id", ""),
                code_path=getattr(request, "code_path", None),
                ends=operation.ends,
            )
        return cls(operation, request, payload, turns, asked)

    def name(self, error: FlowManagerError) -> None:
        """Say in an error what was asked for."""
        name_in(error, self.operation.name, self.payload, self.request.request_id)


def name_in(error: FlowManagerError, name: str, payload: object, request_id: str | None) -> None:
    """Say in an error what was asked for, as far as that can be read."""
    known = {"operation": name[:100], "request_id": request_id, "container_id": given(payload)}
    error.about(**{key: value for key, value in known.items() if value is not None})


def given(payload: object) -> str | None:
    """The container as a payload names it, if it does."""
    found = payload.get("container_id") if isinstance(payload, dict) else None
    return found[:128] if isinstance(found, str) else None
