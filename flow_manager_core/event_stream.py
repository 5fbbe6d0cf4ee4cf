"""The log of events and then the live ones, with no gap and no repeat where they join.

A reader that is behind reads the journal, as slowly as it likes: what it has not read is kept
there, never in memory. It goes over to the live stream at a moment when it has read all that the
live stream has passed on, with no wait between the comparison and that step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any

import anyio
import anyio.lowlevel
from attrs import frozen

from flow_manager_core.bus import EventBus, EventsLost, Subscription
from flow_manager_core.errors import FlowManagerError, SystemFault
from flow_manager_core.event_log import Identify, LoggedEvent, event_of, events_of
from flow_manager_core.events import Event, GapFound, SnapshotTaken
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import Table, number_key
from flow_manager_core.log import get_log
from flow_manager_core.selection import EVERYTHING, Identity, Position, Selection

#: Pages that are read at once: the first time, and at the most; bytes that they should come to, as
#: each reader that is behind holds so much.
FIRST_PAGES, PAGES, PAGES_SIZE = 4, 64, 128 * 1024
#: Events that are passed over before others get their turn.
TURN = 64
#: Seconds between two looks at a live stream that is behind its client's position.
GLANCE = 0.01
#: Seconds until a journal that cannot be read is asked again.
AGAIN = 1.0
#: Containers of one part of a snapshot; each has some 500 bytes.
PART = 100
#: Live events that may wait for a reader that can go back to the journal.
WAITING = 1000


@frozen
class Present:
    """How the containers are now.

    Args:
        statuses: of each that was asked for, what a ``container_status`` carries.
        complete: whether the engine was ever reached.
    """

    statuses: Sequence[Mapping[str, Any]]
    complete: bool


@frozen
class EventSource:
    """Where events come from.

    Args:
        identify: what is known of a container's full id.
        present: says how the selected containers are, without waiting.
    """

    writer: JournalWriter
    bus: EventBus
    identify: Identify
    present: Callable[[Selection], Present]

    @property
    def position(self) -> Position:
        """After the last event that was published."""
        return Position(self.writer.epoch, self.writer.last)

    def selects(self, selection: Selection, event: Event) -> bool:
        """Whether an event is selected."""
        return selection.matches(event.name, self.identify(event.container_id))

    def fits(self, position: Position, at: int) -> bool:
        """Whether a position is one of this journal's, as far as a live stream is at `at`."""
        return position.epoch == self.writer.epoch and position.seq <= max(at, self.writer.last)

    def identity(self, line: LoggedEvent) -> Identity:
        """What is known of a line's container: now, or, if it is long gone, when it was told."""
        known = self.identify(line.container_id)
        return known if known.name else line.identity


class Replay:
    """One reader's way from a position to the live stream.

    Args:
        selection: what the reader wants by now.
        at: the number of the last event that the live stream has passed on.
        only: of the log, no more than this is told.
    """

    def __init__(
        self,
        source: EventSource,
        since: Position,
        selection: Callable[[], Selection],
        at: Callable[[], int],
        only: Selection = EVERYTHING,
    ) -> None:
        self._source = source
        self._selection = selection
        self._only = only
        self._at = at
        #: The number of the last event that was dealt with.
        self.cursor: int = since.seq
        self._lines: Iterator[LoggedEvent] = iter(())
        self._told: deque[Event] = deque()
        self._pages = FIRST_PAGES
        if since.epoch != source.writer.epoch:
            self._break("epoch", 1)
        elif not source.fits(since, at()):
            self._break("ahead", 1)

    async def next(self) -> Event | None:
        """The next event; ``None`` at the moment when the live stream is where this reader is."""
        passed = 0
        while True:
            if self._told:
                return self._told.popleft()
            if self.cursor == self._at():
                return None
            event = await self._step()
            if event is not None:
                return event
            passed += 1
            if passed % TURN == 0:
                await anyio.lowlevel.checkpoint()

    async def _step(self) -> Event | None:
        if self.cursor > self._at():
            await anyio.sleep(GLANCE)
            return None
        following = self.cursor + 1
        try:
            line = next(self._lines, None)
            if line is None:
                await self._read()
            elif line.seq > following:
                self._break("retention", following)
            elif line.seq == following:
                self.cursor = line.seq
                return self._selected(line)
        except SystemFault as error:
            get_log("events").error(error.message, hint=error.hint)
            self._break("damaged", following)
        return None

    def _selected(self, line: LoggedEvent) -> Event | None:
        identity = self._source.identity(line)
        if not self._only.matches(line.name, identity):
            return None
        if not self._selection().matches(line.name, identity):
            return None
        return event_of(line, self._source.writer.epoch)

    async def _read(self) -> None:
        journal, after = self._source.writer.journal, number_key(self.cursor)
        try:
            pages = await journal.read(Table.EVENTS, after=after, limit=self._pages)
        except FlowManagerError as error:
            get_log("events").warning("The log of events cannot be read", error=error.message)
            await anyio.sleep(AGAIN)
            return
        if not pages:
            self._break("retention", self.cursor + 1)
            return
        size = sum(len(page) for _, page in pages)
        self._pages = min(PAGES, max(1, len(pages) * PAGES_SIZE // size))
        self._lines = chain.from_iterable(events_of(page) for _, page in pages)

    def _break(self, reason: str, first: int) -> None:
        """Tell of a gap up to where the live stream is, and how the containers are."""
        epoch, last = self._source.writer.epoch, self._at()
        self._told.append(
            GapFound(container_id="", epoch_=epoch, from_=first, to=last, reason=reason)
        )
        self._told.extend(self._snapshot(Position(epoch, last)))
        self.cursor, self._lines = last, iter(())

    def _snapshot(self, position: Position) -> Iterator[Event]:
        present = self._source.present(self._selection())
        parts = max(1, -(-len(present.statuses) // PART))
        for part in range(parts):
            # Only the last part carries the position: who breaks off before asks again from before.
            last = part + 1 == parts
            yield SnapshotTaken(
                container_id="",
                containers=present.statuses[part * PART : (part + 1) * PART],
                part=part + 1,
                parts=parts,
                complete=present.complete,
                seq=position.seq if last else 0,
                epoch=position.epoch if last else "",
            )


class EventStream(AsyncIterator[Event]):
    """Events from a position on, however slow its reader is: it goes back to the journal.

    What is kept is never missing. Events that are not kept, and came while the reader was behind,
    are. Use it within its context.
    """

    #: Not asked: what is wanted, the selection says.
    wants: Callable[[type[Event]], bool] | None = None
    #: It goes on in the log as well as live.
    caught_up: bool = False

    def __init__(
        self,
        source: EventSource,
        since: Position,
        selection: Selection = EVERYTHING,
    ) -> None:
        self._source = source
        self._selection = selection
        self._live: Subscription | None = None
        self._stack = ExitStack()
        self._replay: Replay = self._replayed(since)

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _replayed(self, since: Position) -> Replay:
        source = self._source
        return Replay(source, since, lambda: self._selection, lambda: source.writer.last)

    async def __anext__(self) -> Event:
        while True:
            event = await (self._missed() if self._live is None else self._told(self._live))
            if event is not None:
                return event

    async def _missed(self) -> Event | None:
        event = await self._replay.next()
        if event is None:
            bus = self._source.bus
            self._live = self._stack.enter_context(bus.subscribe(WAITING, resumes=True))
        return event

    async def _told(self, live: Subscription) -> Event | None:
        try:
            event = await anext(live)
        except EventsLost:
            self._stack.close()
            self._live = None
            self._replay = self._replayed(Position(self._source.writer.epoch, self._replay.cursor))
            return None
        if event.seq:
            self._replay.cursor = event.seq
        return event if self._source.selects(self._selection, event) else None
