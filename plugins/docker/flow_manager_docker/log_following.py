"""Following a container's output: a stream that its reader holds back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from urllib.parse import quote

import anyio
from anyio import from_thread, to_thread

from flow_manager_core.models import LogLine
from flow_manager_docker.client import Abortable, EngineClient
from flow_manager_docker.log_reading import LogCollector, follow_parameters, frames

Take = Callable[[Sequence[LogLine]], Awaitable[None]]


class Following:
    """One following, with a client and a connection of its own.

    The thread hands lines over one after the other: while they are not taken it does not read, and
    what the container writes waits in the engine's file.
    """

    def __init__(self, container_id: str, since: datetime | None, take: Take) -> None:
        self._container_id = container_id
        self._since = since
        self._take = take
        self._handle = Abortable()

    async def run(self, limiter: anyio.CapacityLimiter, timeout: float) -> None:
        """Follow to the run's end.

        Args:
            timeout: seconds that the engine may take to begin.

        Raises:
            what the SDK raises.
        """
        try:
            await to_thread.run_sync(self._follow, timeout, abandon_on_cancel=True, limiter=limiter)
        finally:
            self._handle.abort()

    def _follow(self, timeout: float) -> None:
        path = f"/containers/{quote(self._container_id, safe='')}/logs"
        query = follow_parameters(self._since)
        with EngineClient(timeout) as client, client.open("GET", path, params=query) as stream:
            if not self._handle.adopt(stream):
                return
            stream.wait_forever()
            collector = LogCollector()
            for stderr, entry in frames(stream.chunks()):
                collector.add(stderr, entry)
                if not self._hand_over(collector.take()):
                    return
            self._hand_over(collector.lines(1))

    def _hand_over(self, lines: Sequence[LogLine]) -> bool:
        """Wait until lines are taken; false when nobody wants them any more."""
        if not lines:
            return True
        # The loop may be gone, or the following given up: then nobody listens any more.
        with suppress(RuntimeError):
            from_thread.run(self._deliver, lines)
        return not self._handle.aborted

    async def _deliver(self, lines: Sequence[LogLine]) -> None:
        if not self._handle.aborted:
            await self._take(lines)
