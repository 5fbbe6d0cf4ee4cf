"""Blocking calls in threads: a limiter of their own, a deadline, errors with a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from flow_manager_core.errors import EngineUnavailable, SystemFault

T = TypeVar("T")


class Worker:
    """Runs one kind of calls.

    Args:
        threads: how many at once.
        timeout: seconds; a call that takes longer is left to itself.
    """

    def __init__(self, threads: int, timeout: float) -> None:
        self._limiter = CapacityLimiter(threads)
        self._timeout = timeout

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call that may be abandoned.

        Raises:
            EngineUnavailable: it took too long.
            SystemFault: the operating system refused.
        """
        try:
            with anyio.fail_after(self._timeout):
                return await to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)
        except TimeoutError:
            raise EngineUnavailable(f"No answer from the system in {self._timeout:g} s") from None
        except OSError as error:
            raise SystemFault(f"The system refused: {error}") from error

    async def finish(self, call: Callable[[], T]) -> T:
        """Run a call whose outcome must be known, though the caller be cancelled meanwhile."""
        shielded = anyio.CancelScope(shield=True)
        with shielded:
            return await self.run(call)
        raise AssertionError("a scope that nobody cancels let nothing through")
