"""The table of operations: each with its request class and its answer's event."""

from __future__ import annotations

from collections.abc import Mapping

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import Fault
from flow_manager_core.operations.backup_rows import BACKUP_ROWS
from flow_manager_core.operations.container_rows import CONTAINER_ROWS
from flow_manager_core.operations.history_rows import HISTORY_ROWS
from flow_manager_core.operations.message_rows import MESSAGE_ROWS
from flow_manager_core.operations.operation import Operation
from flow_manager_core.operations.own_rows import OWN_ROWS
from flow_manager_core.operations.watch_rows import WATCH_ROWS

OPERATIONS: Mapping[str, Operation] = {
    row.name: row
    for row in (
        *CONTAINER_ROWS,
        *MESSAGE_ROWS,
        *BACKUP_ROWS,
        *WATCH_ROWS,
        *HISTORY_ROWS,
        *OWN_ROWS,
    )
}


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
