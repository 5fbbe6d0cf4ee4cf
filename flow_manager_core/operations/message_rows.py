"""The operations on durable messages."""

from __future__ import annotations

from flow_manager_core.models import Role
from flow_manager_core.operations import durable
from flow_manager_core.operations.operation import Operation
from flow_manager_core.requests import (
    DeleteUndeliverable,
    GetMessage,
    ListUndeliverable,
    ResendUndeliverable,
)

MESSAGE_ROWS = (
    Operation(
        request=GetMessage,
        role=Role.READ,
        event="message_status",
        subject=None,
        run=durable.get_message,
        needs_engine=False,
    ),
    Operation(
        request=ListUndeliverable,
        role=Role.READ,
        event="undeliverable_list",
        subject=None,
        run=durable.list_undeliverable,
        needs_engine=False,
    ),
    Operation(
        request=DeleteUndeliverable,
        role=Role.OPERATE,
        event="undeliverable_deleted",
        subject=None,
        run=durable.delete_undeliverable,
        needs_engine=False,
    ),
    Operation(
        request=ResendUndeliverable,
        role=Role.OPERATE,
        event="undeliverable_resent",
        subject=None,
        run=durable.resend_undeliverable,
        needs_engine=False,
    ),
)
