"""What waits for one client: python-engineio's queue with a limit, and an alarm beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from attrs import frozen


@frozen
class QueueLimits:
    """When a client counts as too slow: packets, characters."""

    packets: int
    size: int


class ClientQueue(asyncio.Queue[Any]):
    """Counts packets and characters as they come and go.

    Args:
        limits: checked before a packet is put, so that one large packet always may.
        on_overflow: called once, with the queue, when there is too much.
    """

    def __init__(self, limits: QueueLimits, on_overflow: Callable[[ClientQueue], None]) -> None:
        super().__init__()
        self._limits = limits
        self._on_overflow = on_overflow
        self._size = 0
        self._overflowed = False

    def _put(self, item: Any) -> None:
        if not self._overflowed and self._is_full():
            self._overflowed = True
            self._on_overflow(self)
        self._size += _size_of(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self._size -= _size_of(item)
        return item

    def _is_full(self) -> bool:
        return self.qsize() >= self._limits.packets or self._size > self._limits.size

    def discard(self) -> None:
        """Throw away all that waits."""
        while not self.empty():
            self.get_nowait()
            self.task_done()


def _size_of(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, str) else 0
