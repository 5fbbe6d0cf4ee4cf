"""Durable messages from the manager: which were taken already, and how far the flow is done."""

from __future__ import annotations

import threading
from collections import deque

from flow_manager_sdk.spool import Kept, Spool


class Taken:
    """Hides repeats, and says what may be acknowledged.

    A number stands for all before it: with several workers it waits for the slowest.

    Args:
        kept: what an earlier life left.
        spool: where it lasts; ``None``: it lasts as long as the process.
    """

    def __init__(self, kept: Kept, spool: Spool | None) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        #: The manager's numbering.
        self.epoch: str = kept.epoch
        #: The last message that the flow is done with.
        self.seen: int = kept.seen
        self._latest = kept.seen
        self._under_way: deque[int] = deque()
        self._finished: set[int] = set()

    def begin(self, epoch: str) -> None:
        """The manager has named its numbering; another one than before begins anew."""
        with self._lock:
            if epoch == self.epoch:
                return
            self.epoch, self.seen, self._latest = epoch, 0, 0
            self._under_way.clear()
            self._finished.clear()

    def take(self, seq: int) -> bool:
        """Whether a message is new, and to be handled."""
        with self._lock:
            if seq <= self._latest:
                return False
            self._latest = seq
            self._under_way.append(seq)
            return True

    def done(self, epoch: str, seq: int) -> bool:
        """A message was handled; tell whether there is more to acknowledge now."""
        with self._lock:
            if epoch != self.epoch:
                return False
            self._finished.add(seq)
            before = self.seen
            while self._under_way and self._under_way[0] in self._finished:
                self.seen = self._under_way.popleft()
                self._finished.discard(self.seen)
            if self.seen == before:
                return False
            if self._spool is not None:
                self._spool.done(self.epoch, self.seen)
            return True
