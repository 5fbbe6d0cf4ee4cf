"""TCP connections from their first moment: how long, and how many, may stay without being known.

A visit is a stranger's until a request on it belongs to a client that was let in. Whoever serves
through another server than ours has no visits; `doorkeeper` still watches over the sessions.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from attrs import frozen

#: Where a visit is found in the ``state`` of an ASGI scope.
VISIT = "flow_manager.visit"
#: Bytes that a stranger may send on a WebSocket; names, a token and what HTTP adds need a few KiB.
STRANGER_BYTES = 64 * 1024
#: Seconds that a stranger is safe from being sent away for others.
_GRACE = 0.5


class Visit:
    """One connection.

    Args:
        address: the peer's, without its port.
    """

    __slots__ = (
        *("_end", "_forget", "_taken", "_timer", "_visitors", "_write"),
        *("address", "known", "since"),
    )

    def __init__(self, visitors: Visitors, address: str) -> None:
        self.address: str = address
        self.known: bool = False
        self.since: float = 0.0
        self._visitors = visitors
        self._end: Callable[[], object] | None = None
        self._forget: Callable[[], object] | None = None
        self._write: Callable[[bytes], bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._taken = 0

    def ends_by(
        self, end: Callable[[], object], forget: Callable[[], object] | None = None
    ) -> None:
        """Say what drops the connection as it is now.

        Args:
            forget: makes the kernel drop what it holds for it as well.
        """
        self._end = end
        self._forget = forget

    def writes_by(self, write: Callable[[bytes], bool]) -> None:
        """Say what sends a WebSocket frame at once, or tells that it cannot."""
        self._write = write

    def write(self, frame: bytes) -> bool:
        """Send a WebSocket frame; ``False``: it cannot be sent now."""
        return self._write is not None and self._write(frame)

    def begin(self) -> None:
        """Start the clock: a stranger has come."""
        self.since = asyncio.get_running_loop().time()
        self._visitors.add(self)
        self._wait()

    def admit(self) -> None:
        """It carries a request of a client that was let in."""
        self._visitors.discard(self)
        self._stop()
        self.known = True

    def rest(self) -> None:
        """A known client's request is over; the connection may wait a while for its next."""
        if self._end is not None:
            self._stop()
            self._wait()

    def takes(self, size: int) -> bool:
        """Whether so many more bytes may be taken; where not, the connection is dropped."""
        if self.known:
            return True
        self._taken += size
        if self._taken <= STRANGER_BYTES:
            return True
        self.drop()
        return False

    def drop(self) -> None:
        """End the connection, with all that is buffered for it."""
        end, self._end = self._end, None
        self.leave()
        if end is not None:
            end()

    def cut(self) -> None:
        """End the connection, with all that is buffered for it, in the kernel as well."""
        if self._forget is not None:
            self._forget()
        self.drop()

    def leave(self) -> None:
        """The connection has ended."""
        self._end = self._forget = self._write = None
        self._visitors.discard(self)
        self._stop()

    def _wait(self) -> None:
        patience = self._visitors.limits.patience
        self._timer = asyncio.get_running_loop().call_later(patience, self.drop)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@frozen
class VisitLimits:
    """What strangers may hold.

    Args:
        patience: seconds for each.
        strangers: how many at once.
    """

    patience: float = 5.0
    strangers: int = 256


class Visitors:
    """The strangers among the visits, oldest first."""

    def __init__(self, limits: VisitLimits) -> None:
        self.limits = limits
        self._strangers: dict[Visit, None] = {}
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._strangers)

    def add(self, visit: Visit) -> None:
        """Count a stranger."""
        self._strangers[visit] = None
        self._addresses[visit.address] += 1

    def discard(self, visit: Visit) -> None:
        """Count it no more."""
        if visit not in self._strangers:
            return
        del self._strangers[visit]
        self._addresses[visit.address] -= 1
        if not self._addresses[visit.address]:
            del self._addresses[visit.address]

    def make_room(self) -> float:
        """Send strangers away until one more may come.

        It is the oldest of the address that has most of them, so that a crowd from elsewhere
        cannot push a client out that is about to present itself.

        Returns:
            Seconds after which to ask again; 0 when there is room.
        """
        while len(self._strangers) >= self.limits.strangers:
            oldest = self._oldest_of_the_crowd()
            age = asyncio.get_running_loop().time() - oldest.since
            grace = min(_GRACE, self.limits.patience)
            if age < grace:
                return grace - age
            oldest.drop()
        return 0.0

    def thin_out(self) -> None:
        """Send a quarter of the strangers away at once: what they hold is needed."""
        for _ in range(-(-len(self._strangers) // 4)):
            self._oldest_of_the_crowd().drop()

    def _oldest_of_the_crowd(self) -> Visit:
        most = max(self._addresses.values())
        return next(v for v in self._strangers if self._addresses[v.address] == most)
