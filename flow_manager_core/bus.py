"""The event bus: every subscriber has a bounded queue of its own, in the order of publication.

The overflow rule: publishing never waits. What comes from flows is held back at its source while a
subscriber is far behind (`relief`). A subscriber that stays far behind for `PATIENCE` seconds, or
whose queue is full, is cut off: its iterator raises `EventsLost`, so that it knows, and the others
go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import anyio

from flow_manager_core.errors import SystemFault
from flow_manager_core.events import Event

#: Events that a subscriber may be behind; some 10 MB of small messages.
LIMIT = 10_000
#: A subscriber with more than this many waiting holds back the flows.
CROWDED = LIMIT // 4
#: Seconds that flows are held back for a subscriber before it is cut off.
PATIENCE = 5.0
#: A subscriber with no more than this many waiting has as good as kept up.
NEAR = 8
#: Seconds that a flow which talks without pause is held back for subscribers to keep up. One that
#: is busy with something longer falls behind, and flows are held back when it is far behind.
COURTESY = 0.02


class EventsLost(SystemFault):
    """A subscriber was too slow for too long, and its subscription has ended."""


class Subscription:
    """One subscriber's queue; iterate over it."""

    def __init__(self, bus: EventBus, limit: int, *, resumes: bool) -> None:
        self._bus = bus
        self._limit = limit
        #: Whether it is waited for by nobody: what it loses, it finds elsewhere.
        self.resumes: bool = resumes
        self._queue: deque[Event] = deque()
        self._arrived = anyio.Event()
        self._lost = False
        self._closed = False
        #: See `contracts.Events`.
        self.wants: Callable[[type[Event]], bool] | None = None
        #: Whether the subscriber has dealt with all it was sent.
        self.caught_up: bool = True
        #: When it fell far behind, on the loop's clock; ``None`` while it keeps up.
        self.behind_since: float | None = None

    @property
    def waiting(self) -> int:
        """Events that it has not taken."""
        return len(self._queue)

    def takes(self, kind: type[Event]) -> bool:
        """Whether events of this kind are for this subscriber."""
        return self.wants is None or self.wants(kind)

    def keeps(self, kind: type[Event]) -> bool:
        """Whether events of this kind are to wait for this subscriber.

        One that is behind has all that is numbered: it is asked again whether it wants them, at
        their place among the numbers. Left out now, they would be missing where it changes its mind
        before it is there.
        """
        return self.takes(kind) or (kind.kept and not self.caught_up)

    def put(self, event: Event) -> None:
        """Take an event; called by the bus."""
        if self._lost:
            return
        if len(self._queue) >= self._limit:
            self.cut_off()
            return
        self._queue.append(event)
        self.caught_up = False
        if len(self._queue) > CROWDED and self.behind_since is None and not self.resumes:
            self.behind_since = anyio.current_time()
        self._arrived.set()

    def cut_off(self) -> None:
        """End the subscription: it was too slow for too long."""
        if not self.resumes:
            self._bus.dropped()
        self._lost = True
        self._queue.clear()
        self._bus.kept_up()
        self.behind_since = None
        self._arrived.set()

    def close(self) -> None:
        """End the iteration once what is queued was read."""
        self._closed = True
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while True:
            while not self._queue:
                if self._lost:
                    raise EventsLost("Events were lost: this subscriber read too slowly")
                if self._closed:
                    raise StopAsyncIteration
                await self._wait()
            event = self._taken()
            if self.takes(type(event)):
                return event

    def _taken(self) -> Event:
        event = self._queue.popleft()
        if len(self._queue) == NEAR:
            self._bus.kept_up()
        if self.behind_since is not None and len(self._queue) <= CROWDED:
            self.behind_since = None
            self._bus.eased()
        return event

    async def _wait(self) -> None:
        self._arrived = anyio.Event()
        self.caught_up = True
        self._bus.caught_up()
        await self._arrived.wait()


class EventBus:
    """Hands every event to every subscriber that wants it."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._subscriptions: list[Subscription] = []
        self._relief = anyio.Event()
        self._progress = anyio.Event()
        self._drops = 0
        self._near = anyio.Event()
        self._closed = False

    def publish(self, *events: Event) -> None:
        """Queue events for everyone who wants them, at once and in this order."""
        for subscription in self._subscriptions:
            for event in events:
                if subscription.keeps(type(event)):
                    subscription.put(event)

    def wanted(self, kind: type[Event]) -> bool:
        """Whether anybody wants events of a kind; lets the hot path skip making them."""
        # A generator costs as much as all else here, for every message.
        for subscription in self._subscriptions:  # noqa: SIM110
            if subscription.takes(kind):
                return True
        return False

    def subscribers(self) -> int:
        """How many listen."""
        return len(self._subscriptions)

    def depth(self) -> int:
        """How many events wait for the subscriber that is furthest behind."""
        return max((s.waiting for s in self._subscriptions), default=0)

    def drops(self) -> int:
        """How many subscribers were cut off so far."""
        return self._drops

    @contextmanager
    def subscribe(
        self, limit: int | None = None, *, resumes: bool = False
    ) -> Iterator[Subscription]:
        """Follow events from now on: all of them, until the subscriber says which it wants.

        Args:
            limit: events that this subscriber may be behind.
            resumes: it finds elsewhere what it loses here, so nobody waits for it.
        """
        subscription = Subscription(self, limit or self._limit, resumes=resumes)
        self._subscriptions.append(subscription)
        if self._closed:
            subscription.close()
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            self.eased()
            self.kept_up()
            self.caught_up()

    @property
    def crowded(self) -> bool:
        """Whether a subscriber is so far behind that flows must wait."""
        for subscription in self._subscriptions:  # noqa: SIM110  # as above
            if subscription.behind_since is not None:
                return True
        return False

    async def relief(self) -> None:
        """Wait until no subscriber is far behind; those that stay so are cut off."""
        while self.crowded:
            since = min(s.behind_since for s in self._subscriptions if s.behind_since is not None)
            left = since + PATIENCE - anyio.current_time()
            with anyio.move_on_after(left):
                await self._relief.wait()
                continue
            self._cut_off(since)

    def _cut_off(self, since: float) -> None:
        for subscription in self._subscriptions:
            if subscription.behind_since == since:
                subscription.cut_off()
        self.eased()

    def dropped(self) -> None:
        """A subscriber is cut off; called by subscriptions."""
        self._drops += 1

    async def keep_up(self) -> None:
        """Wait until every subscriber has as good as kept up; `COURTESY` seconds at most."""
        with anyio.move_on_after(COURTESY):
            while any(s.waiting > NEAR and not s.resumes for s in self._subscriptions):
                self._near = anyio.Event()
                await self._near.wait()

    def kept_up(self) -> None:
        """A subscriber has nearly kept up, or left; called by subscriptions."""
        self._near.set()

    def eased(self) -> None:
        """A subscriber caught up or left; called by subscriptions."""
        if not self.crowded:
            self._relief.set()
            self._relief = anyio.Event()

    def caught_up(self) -> None:
        """A subscriber waits for more, or left; called by subscriptions."""
        self._progress.set()

    async def delivered(self, seconds: float) -> None:
        """Wait until every subscriber has dealt with all that was published, or time is up."""
        with anyio.move_on_after(seconds, shield=True):
            while not all(s.caught_up for s in self._subscriptions):
                self._progress = anyio.Event()
                await self._progress.wait()

    def close(self) -> None:
        """End every subscription once what is queued was read, and those to come at once."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
