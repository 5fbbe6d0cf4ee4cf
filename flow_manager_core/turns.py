"""Turns: one client's requests on one container go in the order they were sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import anyio

from flow_manager_core.caller import Caller


class Turn:
    """A turn of one key, until the context ends; leave it early with `release`."""

    def __init__(self, turns: Turns, key: Hashable) -> None:
        self._turns = turns
        self._key = key
        self._held = True

    @property
    def caller(self) -> Caller:
        """Whose turn it is."""
        return self._turns.caller

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.release()

    def release(self) -> None:
        """Let the next one go; the second call does nothing."""
        if self._held:
            self._held = False
            self._turns.pass_on(self._key)


class Turns:
    """First-come queues, one a key, kept only while somebody has or awaits a turn.

    No locks: making one for each request costs more than everything that is done here.
    """

    def __init__(self, caller: Caller | None = None) -> None:
        self.caller: Caller = caller or Caller()
        #: Who waits for the turn of each key that somebody has.
        self._waiting: dict[Hashable, deque[anyio.Event]] = {}

    async def turn(self, key: Hashable) -> Turn:
        """Wait for the turn of a key; the place in its queue is taken at once."""
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
        else:
            await self._wait(key, waiting)
        return Turn(self, key)

    async def _wait(self, key: Hashable, waiting: deque[anyio.Event]) -> None:
        called = anyio.Event()
        waiting.append(called)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self.pass_on(key)
            else:
                waiting.remove(called)
            raise

    def pass_on(self, key: Hashable) -> None:
        """Call who waits next; called by turns."""
        waiting = self._waiting[key]
        if waiting:
            waiting.popleft().set()
        else:
            del self._waiting[key]
