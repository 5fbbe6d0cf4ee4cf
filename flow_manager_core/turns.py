"""Turns: one client's requests on one container go in the order they were sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from types import TracebackType

import anyio

from flow_manager_core.caller import Caller


class Turn:
    """A place in the queue of one key; leave it early with `release`."""

    def __init__(self, turns: Turns, key: Hashable) -> None:
        self._turns = turns
        self._key = key
        self._held = False

    @property
    def caller(self) -> Caller:
        """Whose turn it is."""
        return self._turns.caller

    async def __aenter__(self) -> Turn:
        await self._turns.take(self._key)
        self._held = True
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
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

    def turn(self, key: Hashable) -> Turn:
        """Queue up for a key: the place is taken when the context is entered."""
        return Turn(self, key)

    async def take(self, key: Hashable) -> None:
        """Wait for the turn of a key, at once where nobody has it; called by turns."""
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
            return
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
