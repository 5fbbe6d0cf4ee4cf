"""Follows containers' output for clients, each following in a task of its own.

It goes on through all runs of a container. Whoever reads slowly holds his own following back, and
nobody else; nothing is kept for him here but the lines that wait for his outlet.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from attrs import define

from flow_manager_core.caller import Caller
from flow_manager_core.contracts import ContainerBackend, LogStreamer, Outlet
from flow_manager_core.errors import (
    ContainerNotFound,
    FlowManagerError,
    InvalidRequest,
    SystemFault,
)
from flow_manager_core.events import ContainerLogged, LogFollowingEnded
from flow_manager_core.gate import Gate
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault, LogLine
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import LogCursor
from flow_manager_core.trace import for_nobody
from flow_manager_core.wire import timestamp

#: Followings of one client, and of all together.
OF_ONE, OF_ALL = 16, 64
#: Lines that are still read after a stream's end.
REST = 1000
#: Seconds until a stream that broke, or that ended before its run did, is opened anew.
AGAIN = 0.5
#: Bytes of one event's lines, as JSON. A client's outlet waits between two of them, so this is what
#: each following may have on its way beyond that.
EVENT_SIZE = 256 * 1024
#: Bytes of a line's own fields in an answer or event.
LINE_FRAME = 80


@define(eq=False)
class _Following:
    """One client's following of one container."""

    id: str
    record: ContainerRecord
    outlet: Outlet
    cursor: LogCursor


class LogFollower:
    """Begins and ends followings.

    Args:
        group: holds them.
    """

    def __init__(self, backend: ContainerBackend, gate: Gate, group: TaskGroup) -> None:
        self._backend = backend
        self._gate = gate
        self._group = group
        self._under_way = 0
        self._log = get_log("logs")

    def under_way(self) -> int:
        """How many followings there are."""
        return self._under_way

    def check(self, caller: Caller) -> Outlet:
        """Say whether a client can follow; return the way to it.

        Raises:
            InvalidRequest: the frontend or the backend cannot.
            SystemFault: there are too many followings, or the client is gone.
        """
        if caller.outlet is None or not isinstance(self._backend, LogStreamer):
            lacking = "frontend" if caller.outlet is None else "backend"
            raise InvalidRequest([Fault("follow", f"not supported by this {lacking}")])
        if caller.gone:
            raise SystemFault("The client is gone")
        if len(caller.follows) >= OF_ONE or self._under_way >= OF_ALL:
            raise SystemFault(
                f"Too many followings: {OF_ONE} of one client, {OF_ALL} of all are the most",
                retryable=True,
                hint="End some with unfollow_container_logs",
            )
        return caller.outlet

    async def begin(self, caller: Caller, record: ContainerRecord, cursor: LogCursor) -> str:
        """Follow a container's output after a cursor; return the following's id.

        Raises:
            InvalidRequest, SystemFault: see `check`.
        """
        following = _Following(secrets.token_hex(8), record, self.check(caller), cursor)
        scope = caller.follows[following.id] = anyio.CancelScope()
        self._under_way += 1
        with for_nobody():
            self._group.start_soon(self._run, caller, following, scope)
        return following.id

    async def _run(self, caller: Caller, following: _Following, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                reason = await self._follow(following)
                ended = LogFollowingEnded(
                    container_id=following.record.id, follow_id=following.id, reason=reason
                )
                await following.outlet(ended)
        except Exception:  # noqa: BLE001  # one client's trouble must not end the others' followings
            self._log.exception("A following failed", container_id=following.record.short_id)
        finally:
            caller.follows.pop(following.id, None)
            self._under_way -= 1

    async def _follow(self, following: _Following) -> str:
        """Follow run after run; return why there is no more."""
        record = following.record
        while not record.gone:
            await self._gate.opened()
            run = _run_of(record)  # a slow reader may come to its end when the next one is over
            try:
                await self._stream(following)
            except ContainerNotFound:
                break
            except FlowManagerError as error:
                self._log.info(
                    "A following begins anew", container_id=record.short_id, reason=error.message
                )
                await anyio.sleep(AGAIN)
                continue
            await _until_more(record, run)
        return "the container was removed"

    async def _stream(self, following: _Following) -> None:
        assert isinstance(self._backend, LogStreamer)
        passed = Passed(following.cursor)

        async def take(lines: Sequence[LogLine]) -> None:
            await self._tell(following, [line for line in lines if not passed.passes(line)])

        await self._backend.follow_logs(following.record.id, following.cursor.at, take)
        # An engine may end the stream before a run's last lines (Podman 4.3 does).
        await self._tell_rest(following)

    async def _tell_rest(self, following: _Following) -> None:
        since = following.cursor
        lines = await self._backend.logs(following.record.id, tail=REST, since=since.at)
        if len(lines) >= REST:
            return  # others may come before these: the stream is opened anew
        passed = Passed(since)
        await self._tell(following, [line for line in lines if not passed.passes(line)])

    async def _tell(self, following: _Following, lines: Sequence[LogLine]) -> None:
        for piece in pieces(lines):
            following.cursor = after(following.cursor, piece)
            await following.outlet(
                ContainerLogged(
                    container_id=following.record.id,
                    follow_id=following.id,
                    lines=[line_body(line) for line in piece],
                    cursor=str(following.cursor),
                )
            )
            await anyio.lowlevel.checkpoint()  # an outlet that has room need not wait


class Passed:
    """Passes over the lines that came before a cursor, when its moment is read again."""

    def __init__(self, cursor: LogCursor) -> None:
        self._at = cursor.at
        self._left = cursor.count

    def passes(self, line: LogLine) -> bool:
        """Whether a line came before the cursor."""
        if line.timestamp < self._at:
            return True
        if line.timestamp == self._at and self._left > 0:
            self._left -= 1
            return True
        return False


def after(cursor: LogCursor, lines: Sequence[LogLine]) -> LogCursor:
    """The cursor after some further lines."""
    latest = max(line.timestamp for line in lines)
    if latest < cursor.at:
        return cursor  # engines may write the two streams a little out of order
    count = sum(line.timestamp == latest for line in lines)
    return LogCursor(latest, count + cursor.count if latest == cursor.at else count)


def pieces(lines: Sequence[LogLine]) -> Iterator[Sequence[LogLine]]:
    """Lines in parts that fit one event each; a line that fits none is alone in one."""
    start, room = 0, EVENT_SIZE
    for number, line in enumerate(lines):
        size = size_of(line)
        if size > room and number > start:
            yield lines[start:number]
            start, room = number, EVENT_SIZE
        room -= size
    if start < len(lines):
        yield lines[start:]


def size_of(line: LogLine) -> int:
    """Bytes of a line in an answer or event: JSON writes a control character as six."""
    text = line.line
    told = text if text.isprintable() else json.dumps(text, ensure_ascii=False)
    return len(told.encode()) + LINE_FRAME


def line_body(line: LogLine) -> dict[str, str]:
    """A line as clients get it."""
    return {"timestamp": timestamp(line.timestamp), "stream": line.stream, "line": line.line}


async def _until_more(record: ContainerRecord, run: datetime | None) -> None:
    """Wait for another run than the one whose stream ended.

    A stream may end although its run goes on, as when the engine is restarted below it.
    """
    with anyio.move_on_after(AGAIN):
        while not record.gone and _run_of(record) == run and record.state.alive:
            await record.changed()
    while not record.gone and _run_of(record) == run and not record.state.alive:
        await record.changed()


def _run_of(record: ContainerRecord) -> datetime | None:
    return record.container.started_at if record.container else None
