"""Containers' output: what there is, and what comes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import anyio

from flow_manager_core.contracts import LogStreamer
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.log_following import Passed, after, line_body, size_of
from flow_manager_core.models import Fault, LogLine
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import GetContainerLogs, LogCursor, UnfollowContainerLogs
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn

#: Before every container's first line.
EPOCH = datetime.fromtimestamp(0, UTC)
#: Lines that are given when the request names no number.
DEFAULT_TAIL = 1000
#: Bounds of one answer: lines, and bytes as JSON.
MOST_LINES = 10_000
ANSWER_SIZE = 1024 * 1024
#: Seconds without a line after which a stream that is read for an answer has no more of them.
SILENCE = 1.0


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
    if request.cursor is not None:
        # More than fits comes when the client follows, or asks again with the new cursor.
        return _oldest(await _after(services, record, request.cursor))
    since = request.since.at if request.since else None
    tail = min(request.tail or DEFAULT_TAIL, MOST_LINES)
    with services.metrics.engine_call("logs"):
        return _newest(await services.backend.logs(record.id, tail=tail, since=since))


async def _after(
    services: Services, record: ContainerRecord, cursor: LogCursor
) -> Sequence[LogLine]:
    backend = services.backend
    last = await backend.logs(record.id, tail=MOST_LINES, since=cursor.at)
    passed = Passed(cursor)
    if len(last) < MOST_LINES:
        return [line for line in last if not passed.passes(line)]
    # There may be others before these.
    if not isinstance(backend, LogStreamer):
        every = await backend.logs(record.id, tail=None, since=cursor.at)
        return [line for line in every if not passed.passes(line)][:MOST_LINES]
    return await _first(backend, record, cursor, last[-1].timestamp)


async def _first(
    backend: LogStreamer, record: ContainerRecord, cursor: LogCursor, newest: datetime
) -> Sequence[LogLine]:
    """The first lines after a cursor, read as a stream until an answer is full.

    Args:
        newest: of a line that is there: the stream goes on until it. There may be none after the
            cursor, and others of the same moment: then the stream falls silent.
    """
    found: list[LogLine] = []
    passed = Passed(cursor)
    with anyio.move_on_after(SILENCE) as enough:
        size = 0

        async def take(lines: Sequence[LogLine]) -> None:
            nonlocal size
            enough.deadline = anyio.current_time() + SILENCE
            new = [line for line in lines if not passed.passes(line)]
            found.extend(new)
            size += sum(map(size_of, new))
            at_end = any(line.timestamp >= newest for line in new)
            if at_end or size > ANSWER_SIZE or len(found) >= MOST_LINES:
                enough.cancel()

        await backend.follow_logs(record.id, cursor.at, take)
    return found[:MOST_LINES]


def _newest(lines: Sequence[LogLine]) -> Sequence[LogLine]:
    """The last lines that fit an answer; a client's library refuses messages that are too large."""
    room = ANSWER_SIZE
    for count, line in enumerate(reversed(lines)):
        room -= size_of(line)
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
