"""The operations on containers and their flows."""

from __future__ import annotations

from flow_manager_core.models import Role
from flow_manager_core.operations import create, logs, messages, queries, running, update
from flow_manager_core.operations.operation import Operation
from flow_manager_core.requests import (
    CreateContainer,
    DeleteContainer,
    GetContainerLogs,
    GetContainerStatus,
    ListContainers,
    RestartContainer,
    SendMessage,
    StartContainer,
    StopContainer,
    UnfollowContainerLogs,
    UpdateContainer,
)

CONTAINER_ROWS = (
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
        waits_for_flow=True,
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
        run=logs.get_container_logs,
    ),
    Operation(
        request=UnfollowContainerLogs,
        role=Role.READ,
        event="container_logs_unfollowed",
        subject=None,
        run=logs.unfollow_container_logs,
        needs_engine=False,
    ),
)
