"""The operations on what was done and told."""

from __future__ import annotations

from flow_manager_core.history_requests import GetActivityLog, GetOperation
from flow_manager_core.models import Role
from flow_manager_core.operations import history
from flow_manager_core.operations.operation import Operation

HISTORY_ROWS = (
    Operation(
        request=GetActivityLog,
        role=Role.READ,
        event="activity_log_page",
        subject=None,
        run=history.get_activity_log,
        needs_engine=False,
    ),
    Operation(
        request=GetOperation,
        role=Role.READ,
        event="operation",
        subject=None,
        run=history.get_operation,
        needs_engine=False,
    ),
)
