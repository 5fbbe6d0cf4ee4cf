"""What containers of an engine elsewhere use: the engine's stats, as streams that stay open.

Asked for once, the engine takes a second for its answer. So there is a stream for each container
that is asked about, and whoever asks gets what came last, at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import anyio
from anyio.abc import TaskGroup
from attrs import define

from flow_manager_core.events import now
from flow_manager_core.log import Log
from flow_manager_core.models import ResourceUsage
from flow_manager_docker.measuring import CpuSample, compare, usage_of
from flow_manager_docker.stats_connection import SILENCE, Endpoint, Refused, follow_stats
from flow_manager_docker.stats_reading import parse_stats, tells_nothing

#: Seconds after a stream's end before the container gets another one.
REST = 2.0

#: What ends a stream: the next asking begins another one.
_ENDS = (
    *(Refused, TimeoutError, OSError, ValueError, anyio.BrokenResourceError),
    *(anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound, anyio.ClosedResourceError),
)


@define(eq=False)
class _Stream:
    """One container's: the line that came last, not read before somebody asks.

    Args:
        asked_at: on the loop's clock, as all but `arrived`.
    """

    asked_at: float
    scope: anyio.CancelScope
    line: bytes = b""
    came_at: float = 0.0
    arrived: datetime | None = None
    sample: CpuSample | None = None
    told: ResourceUsage | None = None

    def read(self) -> None:
        """Make of the last line what is told.

        Raises:
            ValueError: it is no line of stats.
        """
        line, self.line = self.line, b""
        at, reading = parse_stats(line)
        share = None
        if reading.cpu_seconds is not None:
            self.sample, share = compare(self.sample, CpuSample(at, reading.cpu_seconds))
        self.told = usage_of(reading, share, self.arrived or now())


class StatsStreams:
    """Keeps a stream for each container that is asked about, to its end or until nobody asks.

    At most `most` are open. Containers beyond that are not measured, until another one's stream
    has ended: first come, first served.

    Args:
        group: holds a task for each stream.
        most: streams at a time.
        idle: seconds without a question after which a stream ends.
        timeout: seconds that the engine may take to begin.
    """

    def __init__(
        self, group: TaskGroup, log: Log, *, most: int, idle: float, timeout: float
    ) -> None:
        self._group = group
        self._log = log
        self._most = most
        self._idle = idle
        self._timeout = timeout
        self._streams: dict[str, _Stream] = {}
        self._resting: dict[str, float] = {}
        self._full = False

    def ask(self, endpoint: Endpoint, container_ids: Iterable[str]) -> dict[str, ResourceUsage]:
        """Say what is known now; those of which nothing is known yet are left out."""
        at = anyio.current_time()
        self._resting = {each: until for each, until in self._resting.items() if until > at}
        asked = {each: self._asked(endpoint, each, at) for each in container_ids}
        told = {each: self._told(each, s, at) for each, s in asked.items() if s is not None}
        return {each: usage for each, usage in told.items() if usage is not None}

    def forget(self, container_id: str) -> None:
        """End a container's stream, if it has one."""
        if (stream := self._streams.get(container_id)) is not None:
            stream.scope.cancel()

    def __len__(self) -> int:
        return len(self._streams)

    def _asked(self, endpoint: Endpoint, container_id: str, at: float) -> _Stream | None:
        stream = self._streams.get(container_id)
        if stream is not None:
            stream.asked_at = at
            return stream
        if container_id not in self._resting and self._has_room():
            made = self._streams[container_id] = _Stream(at, anyio.CancelScope())
            self._group.start_soon(self._follow, endpoint, container_id, made)
        return None

    def _has_room(self) -> bool:
        full = len(self._streams) >= self._most
        if full and not self._full:
            told = "No more streams of resource use: other containers are not measured"
            self._log.warning(told, streams=self._most)
        self._full = full
        return not full

    def _told(self, container_id: str, stream: _Stream, at: float) -> ResourceUsage | None:
        if at - stream.came_at > SILENCE:
            return None
        if stream.line:
            try:
                stream.read()
            except ValueError as error:
                self._say_end(container_id, error)
                stream.scope.cancel()
        return stream.told

    async def _follow(self, endpoint: Endpoint, container_id: str, stream: _Stream) -> None:
        def take(line: bytes) -> bool:
            stream.came_at, stream.arrived = anyio.current_time(), now()
            if tells_nothing(line) or stream.came_at - stream.asked_at > self._idle:
                return False
            stream.line = line
            if stream.sample is None:  # what the first question's answer is compared with
                stream.read()
            return True

        try:
            with stream.scope:
                await follow_stats(endpoint, container_id, self._timeout, take)
        except _ENDS as error:
            self._say_end(container_id, error)
        finally:
            self._resting[container_id] = anyio.current_time() + REST
            del self._streams[container_id]

    def _say_end(self, container_id: str, error: Exception) -> None:
        self._log.debug("Stream of stats ended", container_id=container_id[:12], error=repr(error))
