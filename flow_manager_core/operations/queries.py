"""Status, list and logs: what the engine says now, in the contract's shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flow_manager_core.answers import list_entry, status_body
from flow_manager_core.contracts import ResourceMeter
from flow_manager_core.models import LogLine
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import GetContainerLogs, GetContainerStatus, ListContainers
from flow_manager_core.services import Services
from flow_manager_core.terms import client_labels
from flow_manager_core.turns import Turn
from flow_manager_core.wire import timestamp

#: Lines that are given when the request names no number.
DEFAULT_TAIL = 1000
#: Bounds of one answer: lines, bytes, and the bytes of a line's own fields.
MOST_LINES = 10_000
ANSWER_SIZE = 1024 * 1024
LINE_FRAME = 80


async def get_container_status(
    services: Services, record: ContainerRecord, _request: GetContainerStatus, _turn: Turn
) -> dict[str, Any]:
    """Look at the container now."""
    record.made()
    await services.supervisor.look(record)
    usage = None
    if record.state.alive and isinstance(services.backend, ResourceMeter):
        # An engine elsewhere takes a second to say: then the monitoring's last sample has to do.
        usage = await services.backend.usage(record.id) or services.monitor.latest(record)
    return status_body(record, usage)


async def list_containers(
    services: Services, _record: None, request: ListContainers, _turn: Turn
) -> dict[str, Any]:
    """Compare with the engine's list first, so that the answer is true."""
    await services.supervisor.reconcile()
    found = [
        list_entry(record)
        for record in services.registry
        if request.state in (None, record.state) and _carries(record, request.labels)
    ]
    return {"containers": found, "count": len(found)}


def _carries(record: ContainerRecord, labels: dict[str, str]) -> bool:
    own = client_labels(record.made().labels)
    return labels.items() <= own.items()


async def get_container_logs(
    services: Services, record: ContainerRecord, request: GetContainerLogs, _turn: Turn
) -> dict[str, Any]:
    """Read the output, oldest line first."""
    lines = await services.backend.logs(
        record.made().id,
        tail=min(request.tail or DEFAULT_TAIL, MOST_LINES),
        since=request.since.at if request.since else None,
    )
    return {
        "container_id": record.short_id,
        "lines": [
            {"timestamp": timestamp(line.timestamp), "stream": line.stream, "line": line.line}
            for line in _newest(lines)
        ],
    }


def _newest(lines: Sequence[LogLine]) -> Sequence[LogLine]:
    """The last lines that fit an answer; a client's library refuses messages that are too large."""
    room = ANSWER_SIZE
    for count, line in enumerate(reversed(lines)):
        room -= len(line.line.encode()) + LINE_FRAME
        if room < 0:
            return lines[len(lines) - count :]
    return lines
