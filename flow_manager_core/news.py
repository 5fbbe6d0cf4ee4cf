"""What a client that comes soon after the manager's start is told first.

At its start the manager finds out what ended while it was not there, and flows connect again; no
client can be there to hear it. It is in the log of events, from which such a client begins.
"""

from __future__ import annotations

import anyio

from flow_manager_core.events import (
    ContainerCrashed,
    ContainerRecovered,
    RecoveryGaveUp,
    RecoveryScheduled,
    SocketConnected,
    SocketDisconnected,
    StatusChanged,
)
from flow_manager_core.selection import Position, Selection

#: Seconds after the start in which news is told.
FRESH = 60.0
KINDS = frozenset(
    kind.name
    for kind in (
        StatusChanged,
        ContainerCrashed,
        RecoveryScheduled,
        ContainerRecovered,
        RecoveryGaveUp,
        SocketConnected,
        SocketDisconnected,
    )
)


class News:
    """Says what of the log is news: what is told of containers that an earlier life has made.

    Args:
        start: where the log was when the manager began.
    """

    def __init__(self, start: Position) -> None:
        self.start = start
        self._ends_at = anyio.current_time() + FRESH
        self._about: set[str] = set()

    def about(self, container_id: str) -> None:
        """Count what is told of a container among it."""
        self._about.add(container_id)

    def latest(self) -> Selection | None:
        """What a newcomer is to be told since `start`; nothing once the manager is not new."""
        if anyio.current_time() > self._ends_at:
            self._about.clear()
        return Selection(containers=tuple(self._about), events=KINDS) if self._about else None
