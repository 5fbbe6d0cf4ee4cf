"""One connection to a file, used by one thread at a time, and never waited for without end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import to_thread

from flow_manager_core.errors import SystemFault
from flow_manager_core.journals import JournalHangs

T = TypeVar("T")

HINT = "Check the disk of the state folder, its free space and its permissions"


class Lane:
    """Carries out work with a connection, in the order in which it is asked for.

    Args:
        deadline: seconds for one piece of work; a thread that takes longer is left to itself, and
            until it comes back everything else is refused at once.
    """

    def __init__(self, base: sqlite3.Connection, deadline: float) -> None:
        self._base = base
        self._deadline = deadline
        self._turn = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(1)
        self._busy = False

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have it done. Once it has begun, a cancellation waits for its end.

        Raises:
            JournalHangs: it took too long; nothing is known of what it did.
            SystemFault: it failed, or the work before it still hangs.
        """

        def done() -> T:
            try:
                return work(self._base)
            finally:
                self._busy = False

        async with self._turn:
            if self._busy:
                raise SystemFault("The journal's disk does not answer", retryable=True, hint=HINT)
            self._busy = True
            try:
                return await self._in_thread(done)
            except (sqlite3.Error, OSError, UnicodeError) as error:
                told = f"The journal refuses: {error}"
                raise SystemFault(told, retryable=True, hint=HINT) from error

    async def _in_thread(self, done: Callable[[], T]) -> T:
        with anyio.CancelScope(shield=True), anyio.move_on_after(self._deadline):
            return await to_thread.run_sync(done, abandon_on_cancel=True, limiter=self._limiter)
        told = f"The journal's disk did not answer within {self._deadline:g} s"
        raise JournalHangs(told, hint=HINT)

    def close(self) -> None:
        """Close the connection, unless somebody who does not come back has it. Blocking."""
        if not self._busy:
            self._base.close()
