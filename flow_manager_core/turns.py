"""Turns: one client's requests on one container go in the order they were sent."""

from __future__ import annotations

from collections.abc import Hashable
from types import TracebackType

import anyio

from flow_manager_core.caller import Caller


class Turn:
    """A place in the queue of one key; leave it early with `release`."""

    def __init__(self, turns: Turns, key: Hashable, lock: anyio.Lock) -> None:
        self._turns = turns
        self._key = key
        self._lock = lock
        self._held = False

    @property
    def caller(self) -> Caller:
        """Whose turn it is."""
        return self._turns.caller

    async def __aenter__(self) -> Turn:
        try:
            await self._lock.acquire()
        except BaseException:
            self._turns.left(self._key, self._lock)
            raise
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
            self._lock.release()
            self._turns.left(self._key, self._lock)


class Turns:
    """First-come locks, one a key, kept only while somebody holds or awaits one."""

    def __init__(self, caller: Caller | None = None) -> None:
        self.caller: Caller = caller or Caller()
        self._locks: dict[Hashable, tuple[anyio.Lock, int]] = {}

    def turn(self, key: Hashable) -> Turn:
        """Queue up for a key: the place is taken when the context is entered."""
        lock, users = self._locks.get(key) or (anyio.Lock(fast_acquire=True), 0)
        self._locks[key] = (lock, users + 1)
        return Turn(self, key, lock)

    def left(self, key: Hashable, lock: anyio.Lock) -> None:
        """One user fewer; called by turns."""
        users = self._locks[key][1] - 1
        if users:
            self._locks[key] = (lock, users)
        else:
            del self._locks[key]
