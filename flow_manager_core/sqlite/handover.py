"""What a thread opens for somebody who may not be there any more once it is open."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """Has a thing from when it was given until it is closed; one that comes later is closed too.

    Args:
        close: closes a thing. Blocking.
    """

    def __init__(self, close: Callable[[T], None]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._closed = False
        #: What was given, if it was.
        self.thing: T | None = None

    def give(self, thing: T) -> None:
        """Hand it over; where nobody is there for it any more, close it. Blocking."""
        with self._lock:
            if not self._closed:
                self.thing = thing
                return
        self._close(thing)

    def close(self) -> None:
        """Close what was given, or will be. Blocking."""
        with self._lock:
            self._closed = True
            thing, self.thing = self.thing, None
        if thing is not None:
            self._close(thing)
