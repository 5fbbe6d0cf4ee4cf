"""What a client that comes soon after the manager's start is told first.

At its start the manager finds out what ended while it was not there, and flows connect again; no
client can be there to hear it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio

from flow_manager_core.events import (
    ContainerCrashed,
    ContainerRecovered,
    Event,
    RecoveryGaveUp,
    RecoveryScheduled,
    SocketConnected,
    SocketDisconnected,
    StatusChanged,
)

#: Seconds after the start in which news is told.
FRESH = 60.0
#: Events that are kept, the latest.
KEPT = 1000
KINDS = (
    StatusChanged,
    ContainerCrashed,
    RecoveryScheduled,
    ContainerRecovered,
    RecoveryGaveUp,
    SocketConnected,
    SocketDisconnected,
)


class News:
    """Keeps what is told of containers that an earlier life has made."""

    def __init__(self) -> None:
        self._ends_at = anyio.current_time() + FRESH
        self._about: set[str] = set()
        self._events: deque[Event] = deque(maxlen=KEPT)

    def about(self, container_id: str) -> None:
        """Keep what is told of a container."""
        self._about.add(container_id)

    def keep(self, event: Event) -> None:
        """Keep an event if it is one that latecomers want."""
        if event.container_id in self._about and isinstance(event, KINDS):
            self._events.append(event)

    def latest(self) -> Sequence[Event]:
        """The events so far, oldest first; none once the manager is no longer new."""
        if anyio.current_time() > self._ends_at:
            self._about.clear()
            self._events.clear()
        return list(self._events)
