"""What an operation is: one row of the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import Fault, Role
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import ContainerRequest, Request
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn

Body = dict[str, Any]
Subject = Callable[[Services, Any, object], ContainerRecord]


def by_reference(
    services: Services, request: ContainerRequest, _payload: object
) -> ContainerRecord:
    """The container that the request names."""
    return services.registry.find(request.container_id)


@frozen(kw_only=True)
class Operation:
    """One row.

    Args:
        request: the class of its payload.
        role: the least that a client must have to ask for it.
        event: the name of its response event.
        subject: finds the container it is about, without waiting; ``None``: about none.
        run: carries it out. A changing one holds the container's lock.
        verb: the word for it in the log; ``None`` for operations that change nothing.
        needs_engine: whether it fails at once while the engine is away.
        waits_for_flow: whether it waits for its flow and nothing else: when the manager closes, the
            channel gives up for it. Others have a cancel scope for that, 5 µs each.
    """

    request: type[Request]
    role: Role
    event: str
    run: Callable[[Services, Any, Any, Turn], Awaitable[Body]]
    subject: Subject | None = by_reference
    verb: str | None = None
    needs_engine: bool = True
    waits_for_flow: bool = False

    @property
    def name(self) -> str:
        """The request's name on the wire."""
        return self.request.operation

    def admit(self, role: Role) -> None:
        """Let a role pass that is enough.

        Raises:
            InvalidRequest: it is not; the same whatever is asked for, there or not.
        """
        if not role.covers(self.role):
            told = f"needs the role {self.role}; this token has {role}"
            raise InvalidRequest(
                [Fault("operation", told)],
                required_role=str(self.role),
                hint=f"Connect with a token of the role {self.role} or more",
            )
