"""Counts the bytes of a transfer in a thread, and lets the event loop end it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TransferStopped(Exception):
    """Raised in the thread of a transfer that nobody waits for any more."""


class Gauge:
    """How far a transfer has come, step by step.

    A step is one read or write. `stop` waits for the one that is under way, and then there is none
    any more: the file may be closed, although the thread has not ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self.phase: str = ""
        self.current: int = 0
        self.total: int | None = None
        #: Grows with every step, over all phases.
        self.steps: int = 0

    def enter(self, phase: str, total: int | None = None) -> None:
        """Begin a phase; `total` in bytes, where that is known."""
        self.phase, self.current, self.total = phase, 0, total

    @contextmanager
    def step(self) -> Iterator[None]:
        """Do one read or write.

        Raises:
            TransferStopped: the transfer was ended.
        """
        with self._lock:
            if self._stopped:
                raise TransferStopped
            self.steps += 1
            yield

    def stop(self) -> None:
        """End the transfer at its next step."""
        with self._lock:
            self._stopped = True
