"""Ends messages whose time has passed, whether or not their flow is there; one timer for all.

Their time runs on the wall clock, also while there is no manager.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

import anyio

from flow_manager_core.durable.letters import Letter

#: Seconds after which the wall clock is looked at again: somebody may have set it.
LOOK = 5.0
#: Entries of messages that ended otherwise, before they are cleared out.
IDLE = 1000


class Expiry:
    """Knows what expires when.

    Args:
        expired: told of each message whose time has passed.
    """

    def __init__(self, expired: Callable[[Letter], None]) -> None:
        self._expired = expired
        self._heap: list[tuple[float, int, Letter]] = []
        self._clear_at = IDLE
        self._sooner = anyio.Event()

    def add(self, letter: Letter) -> None:
        """Watch over a message, if it expires at all."""
        if letter.expires is None:
            return
        heapq.heappush(self._heap, (letter.expires, letter.number, letter))
        if self._heap[0][2] is letter:
            self._sooner.set()
        if len(self._heap) > self._clear_at:
            self._heap = [entry for entry in self._heap if entry[2].end is None]
            heapq.heapify(self._heap)
            self._clear_at = 2 * len(self._heap) + IDLE

    async def run(self) -> None:
        """End what is due, until cancelled."""
        while True:
            now = time.time()
            while self._heap and self._heap[0][0] <= now:
                self._expired(heapq.heappop(self._heap)[2])
            self._sooner = anyio.Event()
            with anyio.move_on_after(self._pause(now)):
                await self._sooner.wait()

    def _pause(self, now: float) -> float | None:
        return min(LOOK, self._heap[0][0] - now) if self._heap else None
