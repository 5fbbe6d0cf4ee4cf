"""The table of operations: each with its request class and its answer's event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import Fault, Role
from flow_manager_core.operations import (
    backup,
    create,
    messages,
    queries,
    restore,
    running,
    update,
)
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import (
    BackupContainer,
    ContainerRequest,
    CreateContainer,
    DeleteContainer,
    GetContainerLogs,
    GetContainerStatus,
    ListContainers,
    Request,
    RestartContainer,
    RestoreContainer,
    SendMessage,
    StartContainer,
    StopContainer,
    UpdateContainer,
    VerifyBackup,
)
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
    """

    request: type[Request]
    role: Role
    event: str
    run: Callable[[Services, Any, Any, Turn], Awaitable[Body]]
    subject: Subject | None = by_reference
    verb: str | None = None
    needs_engine: bool = True

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


_ROWS = (
    Operation(
        request=CreateContainer,
        role=Role.ADMIN,
        event="container_created",
        subject=create.claim,
        run=create.create_container,
        verb="create",
    ),
    Operation(
        request=StartContainer,
        role=Role.OPERATE,
        event="container_started",
        run=running.start_container,
        verb="start",
    ),
    Operation(
        request=StopContainer,
        role=Role.OPERATE,
        event="container_stopped",
        run=running.stop_container,
        verb="stop",
    ),
    Operation(
        request=RestartContainer,
        role=Role.OPERATE,
        event="container_restarted",
        run=running.restart_container,
        verb="restart",
    ),
    Operation(
        request=UpdateContainer,
        role=Role.ADMIN,
        event="container_updated",
        run=update.update_container,
        verb="update",
    ),
    Operation(
        request=DeleteContainer,
        role=Role.ADMIN,
        event="container_deleted",
        run=running.delete_container,
        verb="delete",
    ),
    Operation(
        request=SendMessage,
        role=Role.OPERATE,
        event="message_sent",
        run=messages.send_message,
        needs_engine=False,
    ),
    Operation(
        request=GetContainerStatus,
        role=Role.READ,
        event="container_status",
        run=queries.get_container_status,
    ),
    Operation(
        request=ListContainers,
        role=Role.READ,
        event="container_list",
        subject=None,
        run=queries.list_containers,
    ),
    Operation(
        request=GetContainerLogs,
        role=Role.READ,
        event="container_logs",
        run=queries.get_container_logs,
    ),
    Operation(
        request=BackupContainer,
        role=Role.ADMIN,
        event="container_backed_up",
        run=backup.backup_container,
        verb="backup",
    ),
    Operation(
        request=RestoreContainer,
        role=Role.ADMIN,
        event="container_restored",
        subject=None,
        run=restore.restore_container,
        verb="restore",
    ),
    Operation(
        request=VerifyBackup,
        role=Role.OPERATE,
        event="backup_verified",
        subject=None,
        run=backup.verify_backup,
    ),
)

OPERATIONS: Mapping[str, Operation] = {row.name: row for row in _ROWS}


def operation_named(name: str) -> Operation:
    """Look an operation up.

    Raises:
        InvalidRequest: there is none of this name; the known ones are listed.
    """
    found = OPERATIONS.get(name)
    if found is None:
        known = ", ".join(OPERATIONS)
        raise InvalidRequest(
            [Fault("operation", f"unknown operation {name[:100]!r}; known are {known}")]
        )
    return found
