"""Containers' output: what there is, and what comes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.log_following import Passed, after, line_body
from flow_manager_core.models import Fault, LogLine
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import GetContainerLogs, LogCursor, UnfollowContainerLogs
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn

#: Before every container's first line.
EPOCH = datetime.fromtimestamp(0, UTC)
#: Lines that are given when the request names no number.
DEFAULT_TAIL = 1000
#: Bounds of one answer: lines, bytes, and the bytes of a line's own fields.
MOST_LINES = 10_000
ANSWER_SIZE = 1024 * 1024
LINE_FRAME = 80


async def get_container_logs(
    services: Services, record: ContainerRecord, request: GetContainerLogs, turn: Turn
) -> dict[str, Any]:
    """Read the output, oldest line first; with `follow`, go on with what comes after it."""
    record.made()
    if request.follow:
        services.log_follower.check(turn.caller)
    since = request.since.at if request.since else EPOCH
    beginning = request.cursor or LogCursor(since, 0)
    lines = await _read(services, record, request)
    cursor = after(beginning, lines) if lines else beginning
    answer = {
        "container_id": record.short_id,
        "lines": [line_body(line) for line in lines],
        "cursor": str(cursor),
    }
    if not request.follow:
        return answer
    return {**answer, "follow_id": await services.log_follower.begin(turn.caller, record, cursor)}


async def _read(
    services: Services, record: ContainerRecord, request: GetContainerLogs
) -> Sequence[LogLine]:
    """The last lines; after a cursor the first ones, so that none is missed."""
    cursor = request.cursor
    since = cursor.at if cursor else request.since.at if request.since else None
    tail = MOST_LINES if cursor else min(request.tail or DEFAULT_TAIL, MOST_LINES)
    lines = await services.backend.logs(record.id, tail=tail, since=since)
    if cursor is None:
        return _newest(lines)
    passed = Passed(cursor)
    new = [line for line in lines if not passed.passes(line)]
    # More than fits comes when the client follows, or asks again with the new cursor.
    return _oldest(new)


def _newest(lines: Sequence[LogLine]) -> Sequence[LogLine]:
    """The last lines that fit an answer; a client's library refuses messages that are too large."""
    room = ANSWER_SIZE
    for count, line in enumerate(reversed(lines)):
        room -= len(line.line.encode()) + LINE_FRAME
        if room < 0:
            return lines[len(lines) - count :]
    return lines


def _oldest(lines: Sequence[LogLine]) -> Sequence[LogLine]:
    return _newest(lines[::-1])[::-1]


async def unfollow_container_logs(
    _services: Services, _record: None, request: UnfollowContainerLogs, turn: Turn
) -> dict[str, Any]:
    """End a following."""
    scope = turn.caller.follows.get(request.follow_id)
    if scope is None:
        raise InvalidRequest([Fault("follow_id", "this client has no such following")])
    scope.cancel()
    return {"follow_id": request.follow_id}
