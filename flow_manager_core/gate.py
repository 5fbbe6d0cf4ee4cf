"""The gate before the engine: requests pass it only while the engine is known to answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from flow_manager_core.errors import EngineUnavailable

#: Seconds that a request waits while it is being found out whether the engine is there.
DOUBT = 5.0


class Gate:
    """Open, closed, or in doubt until somebody has asked the engine."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._doubtful = True
        self._acquainted = False
        self._changed = anyio.Event()
        self._opened = anyio.Event()
        self._under_way: set[anyio.CancelScope] = set()
        #: Set when the engine should be asked before its time.
        self.ask_now: anyio.Event = anyio.Event()

    @property
    def is_open(self) -> bool:
        """Whether the engine is known to answer."""
        return self._reason is None and not self._doubtful

    @property
    def acquainted(self) -> bool:
        """Whether the containers were ever listed."""
        return self._acquainted

    @property
    def reason(self) -> str | None:
        """Why it is closed; ``None`` when it is not."""
        return self._reason

    def open(self) -> None:
        """The engine answers, and all that happened meanwhile is known."""
        self._reason, self._doubtful = None, False
        self._acquainted = True
        self._opened.set()
        self._notify()

    def close(self, reason: str) -> None:
        """The engine does not answer: what waits for it need not wait any longer."""
        self._shut()
        self._reason, self._doubtful = reason, False
        self._notify()
        for scope in self._under_way:
            scope.cancel()

    def doubt(self) -> None:
        """Something suggests that the engine went away: let it be asked."""
        if self.is_open:
            self._shut()
            self._doubtful = True
            self.ask_now.set()

    async def require(self) -> None:
        """Pass.

        Raises:
            EngineUnavailable: the engine is away; the call was not sent.
        """
        with anyio.move_on_after(DOUBT):
            while self._doubtful:
                await self._changed.wait()
        if not self.is_open:
            raise self._away()

    def require_acquaintance(self) -> None:
        """Pass if the containers were ever listed: until then none can be said to be absent.

        Raises:
            EngineUnavailable: they were not.
        """
        if not self._acquainted:
            raise self._away()

    def _away(self) -> EngineUnavailable:
        reason = self._reason or "it is being looked for"
        return EngineUnavailable(f"The engine does not answer: {reason}", unsent=True)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Do inside what waits for the engine; it ends when the gate closes.

        Raises:
            EngineUnavailable: the gate closed; nothing is known of the outcome.
        """
        with anyio.CancelScope() as scope:
            self._under_way.add(scope)
            try:
                yield
            finally:
                self._under_way.discard(scope)
        if scope.cancelled_caught:
            raise EngineUnavailable(f"The engine stopped answering: {self._reason}")

    async def opened(self) -> None:
        """Wait until it is open."""
        while not self.is_open:
            await self._opened.wait()

    def _shut(self) -> None:
        if self._opened.is_set():
            self._opened = anyio.Event()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
