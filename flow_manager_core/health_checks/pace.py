"""Spaces out what must not come too often, whoever asks."""

from __future__ import annotations

import anyio


class Pace:
    """Gives turns in the order of asking.

    Args:
        interval: seconds between two turns.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next turn. One whose caller gives up is lost."""
        at = max(self._next, anyio.current_time())
        self._next = at + self._interval
        await anyio.sleep_until(at)
