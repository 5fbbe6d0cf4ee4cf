"""How often something is told, and how often it may happen."""

from __future__ import annotations

from collections.abc import Callable

import anyio

#: What is told in one second; the rest is counted.
TOLD_PER_SECOND = 5


class Throttle:
    """Lets so many through in a second, counts the rest, and has their number told in the end."""

    def __init__(self) -> None:
        self._second = -1
        self._used = 0
        self._suppressed = 0
        self._kept_back = anyio.Event()

    def allow(self) -> bool:
        """Whether one more may be told now; if not, it is counted."""
        second = int(anyio.current_time())
        if second != self._second:
            self._second, self._used = second, 0
        self._used += 1
        if self._used > TOLD_PER_SECOND:
            self._suppressed += 1
            self._kept_back.set()
            return False
        return True

    def take_suppressed(self) -> int:
        """How many were counted since the last time; the caller tells it."""
        found, self._suppressed = self._suppressed, 0
        return found

    def settle(self, tell: Callable[[int], None]) -> None:
        """Have the number told, if there is one."""
        if count := self.take_suppressed():
            tell(count)

    async def run(self, tell: Callable[[int], None]) -> None:
        """Have it told a second after the first that was not, until cancelled."""
        while True:
            await self._kept_back.wait()
            await anyio.sleep(1)
            self._kept_back = anyio.Event()
            self.settle(tell)


class Pace:
    """Lets things happen one by one, with a pause between them once too many came together.

    Args:
        pause: seconds.
        at_once: how many may come together after a long silence.
    """

    def __init__(self, pause: float, at_once: int) -> None:
        self._pause = pause
        self._credit = pause * at_once
        self._next = float("-inf")

    async def turn(self) -> None:
        """Wait for one's turn."""
        now = anyio.current_time()
        self._next = max(self._next, now - self._credit) + self._pause
        if self._next > now:
            await anyio.sleep_until(self._next)
