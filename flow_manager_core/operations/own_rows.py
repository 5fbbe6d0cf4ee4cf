"""The operations on the manager itself."""

from __future__ import annotations

from flow_manager_core.models import Role
from flow_manager_core.operations import log_levels
from flow_manager_core.operations.operation import Operation
from flow_manager_core.requests import GetLogLevel, SetLogLevel

OWN_ROWS = (
    Operation(
        request=GetLogLevel,
        role=Role.ADMIN,
        event="log_level",
        subject=None,
        run=log_levels.get_log_level,
        needs_engine=False,
    ),
    Operation(
        request=SetLogLevel,
        role=Role.ADMIN,
        event="log_level",
        subject=None,
        run=log_levels.set_log_level,
        needs_engine=False,
    ),
)
