"""What flows send durably: stored once, told once, acknowledged after that.

A sender in a flow numbers what it sends, 1, 2, 3 and so on, under a name of its own, its *source*.
The last number that is stored of each source stands in the journal, and changes there in the same
commit as the events that tell of the messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import anyio
import orjson

from flow_manager_core.durable.box import WINDOW, WINDOW_BYTES
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import Event
from flow_manager_core.framing import BadFrame
from flow_manager_core.journals import Change, Drop, Journal, Put, Table
from flow_manager_core.jsontext import dumps
from flow_manager_core.log import get_log
from flow_manager_core.reporter import Reporter

#: Sources of one container that are remembered; beyond that the one that was idle for the longest
#: time is forgotten.
SOURCES = 16
#: Sources whose messages are stored in one commit.
BATCH = 32
#: Seconds until a journal that refused is asked again.
AGAIN = 1.0
PAGE = 1000


class Source:
    """One sender in a flow.

    Args:
        stored: the last number that is in the journal.
        at: when that came, seconds since the epoch.
    """

    def __init__(self, container_id: str, name: str, stored: int = 0, at: float = 0.0) -> None:
        self.container_id = container_id
        self.name = name
        self.stored: int = stored
        self.at: float = at
        #: The last number that was taken, stored or not yet.
        self.taken: int = stored
        #: Called when more is stored.
        self.wake: Callable[[], None] | None = None
        #: The container is gone: its numbers are of no use any more.
        self.gone = False
        self._pending: list[tuple[int, Event | None, int]] = []
        self._size = 0
        self._room = anyio.Event()

    @property
    def key(self) -> str:
        """Its key in the journal."""
        return f"{self.container_id}/{self.name}"

    @property
    def idle(self) -> bool:
        """Whether nobody speaks in its name, and all that was said is stored."""
        return self.wake is None and not self._pending

    async def room(self) -> None:
        """Wait until one more may be under way."""
        while len(self._pending) >= WINDOW or self._size >= WINDOW_BYTES:
            await self._room.wait()

    def take(self, number: int, event: Event | None, size: int) -> None:
        """Take the next one; `event` tells of it, ``None``: it was an answer, and is given."""
        self.taken = number
        self._pending.append((number, event, size))
        self._size += size

    def pending(self) -> Sequence[tuple[int, Event | None, int]]:
        """What is not stored yet: numbers, events, bytes."""
        return tuple(self._pending)

    def mark(self, number: int) -> Change:
        """The change that makes a number the last one stored."""
        return Put(Table.INBOX, self.key, dumps({"seq": number, "at": time.time()}))

    def is_stored(self, count: int) -> None:
        """The first of what was pending is in the journal."""
        done, self._pending = self._pending[:count], self._pending[count:]
        self._size -= sum(size for _, _, size in done)
        self.stored, self.at = done[-1][0], time.time()
        self._room.set()
        self._room = anyio.Event()
        if self.wake is not None:
            self.wake()


def source_of(key: str, value: bytes) -> Source:
    """Read a row of the table."""
    container_id, _, name = key.partition("/")
    row = orjson.loads(value)
    return Source(container_id, name, row["seq"], row["at"])


class Inbox:
    """All sources; `run` is the one task that stores what they send."""

    def __init__(self, journal: Journal, reporter: Reporter) -> None:
        self._journal = journal
        self._reporter = reporter
        self._sources: dict[str, dict[str, Source]] = {}
        self._waiting: dict[Source, None] = {}
        self._arrived = anyio.Event()
        self._log = get_log("messages")

    async def load(self) -> None:
        """Find what earlier lives have stored.

        Raises:
            SystemFault: it cannot be read.
        """
        after = ""
        while page := await self._journal.read(Table.INBOX, after=after, limit=PAGE):
            for after, value in page:  # the last one is where the next page begins
                source = source_of(after, value)
                self._sources.setdefault(source.container_id, {})[source.name] = source

    def containers(self) -> set[str]:
        """Those that have sources."""
        return set(self._sources)

    async def source(self, container_id: str, name: str) -> Source:
        """Find a source, or begin one; the longest idle one makes room for it."""
        known = self._sources.setdefault(container_id, {})
        if name not in known:
            await self._make_room(known)
            known[name] = Source(container_id, name)
        return known[name]

    async def _make_room(self, known: dict[str, Source]) -> None:
        idle = sorted((each for each in known.values() if each.idle), key=lambda s: s.at)
        surplus = [each for each in idle if not each.stored]
        surplus += [each for each in idle if each.stored][: max(0, len(known) + 1 - SOURCES)]
        drops = [Drop(Table.INBOX, each.key) for each in surplus if each.stored]
        try:
            if drops:
                await self._reporter.store(*drops, urgent=True)
        except FlowManagerError as error:
            self._log.error("A sender cannot be forgotten yet", error=error.message)
            return
        for each in surplus:
            known.pop(each.name, None)

    async def take(self, source: Source, number: object, event: Event | None, size: int) -> None:
        """Take what came; whoever sends more than may be under way is held back here.

        Args:
            event: tells of it; ``None``: nobody is to be told.
            size: bytes of its frame.

        Raises:
            BadFrame: its number is none, or not the next one.
        """
        if type(number) is not int or number < 1:
            raise BadFrame("The frame's field seq is no whole number from 1 on")
        if number > source.taken + 1:
            told = f"The frame's seq is {number}, and {source.taken + 1} was to come"
            raise BadFrame(told)
        if number <= source.taken:
            if number <= source.stored and source.wake is not None:
                source.wake()
            return
        await source.room()
        source.take(number, event, size)
        self._waiting[source] = None
        self._arrived.set()

    async def run(self) -> None:
        """Store for as long as the manager lives."""
        while True:
            while not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            batch = [(source, source.pending()) for source in list(self._waiting)[:BATCH]]
            try:
                await self._store(batch)
            except FlowManagerError as error:
                self._log.error("Messages of flows cannot be stored yet", error=error.message)
                await self._look_again([source for source, _ in batch])
                continue
            for source, taken in batch:
                self._is_stored(source, len(taken))

    def _is_stored(self, source: Source, count: int) -> None:
        if count:
            source.is_stored(count)
        if not source.pending():
            del self._waiting[source]

    async def _look_again(self, sources: Sequence[Source]) -> None:
        """Find out, after a while, what the journal has although it did not say so."""
        while True:
            await anyio.sleep(AGAIN)
            try:
                rows = await self._journal.get(Table.INBOX, [source.key for source in sources])
            except FlowManagerError as error:
                self._log.error("Messages of flows cannot be looked up", error=error.message)
                continue
            for source in sources:
                last = orjson.loads(rows[source.key])["seq"] if source.key in rows else 0
                self._is_stored(source, sum(number <= last for number, _, _ in source.pending()))
            return

    async def _store(
        self, batch: Sequence[tuple[Source, Sequence[tuple[int, Event | None, int]]]]
    ) -> None:
        marks = [source.mark(taken[-1][0]) for source, taken in batch if not source.gone]
        events = [event for _, taken in batch for _, event, _ in taken if event is not None]
        await self._reporter.store(*marks, events=events)

    async def end(self, container_id: str) -> None:
        """A container is gone: forget its sources.

        Raises:
            SystemFault: the journal refuses.
        """
        known = self._sources.pop(container_id, {})
        for source in known.values():
            source.gone = True
        drops = [Drop(Table.INBOX, source.key) for source in known.values()]
        if drops:
            await self._reporter.store(*drops, urgent=True)
