"""A journal, a bus and clients that hear of it by turns from the log and live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from flow_manager_core.bus import EventBus
from flow_manager_core.caller import Caller
from flow_manager_core.contracts import Position, Selection
from flow_manager_core.event_stream import EventSource, EventStream, Present
from flow_manager_core.events import Event, GapFound, MessageReceived, SnapshotTaken
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import DropThrough, Table, number_key
from flow_manager_core.listening import Listeners
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.news import News
from flow_manager_core.selection import EVERYTHING, Identity

KEY = "c" * 64


class Tap:
    """Lets through while it is open."""

    def __init__(self) -> None:
        self._opened = anyio.Event()
        self._opened.set()

    def turn(self, *, on: bool) -> None:
        """Open or close it."""
        if on:
            self._opened.set()
        elif self._opened.is_set():
            self._opened = anyio.Event()

    async def passed(self) -> None:
        """Wait while it is closed."""
        await self._opened.wait()
        await anyio.lowlevel.checkpoint()


@define(eq=False)
class Hearer:
    """A client that keeps what it hears; its tap is how willingly it reads."""

    position: Position | None = None
    heard: list[Event] = field(factory=list)
    tap: Tap = field(factory=Tap)

    async def hear(self, event: Event) -> None:
        """Take an event, in its own time."""
        self.take(event)
        await self.tap.passed()

    def take(self, event: Event) -> None:
        """Take an event."""
        self.heard.append(event)
        if event.epoch:
            self.position = Position(event.epoch, event.seq)

    @property
    def numbers(self) -> list[int]:
        """The numbers of what it heard, without snapshots."""
        return [e.seq for e in self.heard if e.seq and not isinstance(e, SnapshotTaken)]

    @property
    def gaps(self) -> list[GapFound]:
        """The gaps that it was told of."""
        return [event for event in self.heard if isinstance(event, GapFound)]


class Floor:
    """One life: what a frontend and the core do for clients, with taps between them."""

    def __init__(self, journal: MemoryJournal, epoch: str, last: int, group: TaskGroup) -> None:
        self.journal = journal
        self.bus = EventBus()
        self.identities: dict[str, Identity] = {KEY: Identity.of(KEY, "flow", {})}
        self.writer = JournalWriter(
            journal,
            lambda events: self.bus.publish(*events),
            epoch=epoch,
            last=last,
            identify=self.identify,
        )
        self.source = EventSource(self.writer, self.bus, self.identify, self.present)
        self.listeners = Listeners(self.source, News(self.source.position), group)
        self.at: int = last
        self.tap = Tap()
        self._feeds: list[_Feed] = []
        self._group = group
        group.start_soon(self.writer.run)

    def identify(self, container_id: str) -> Identity:
        return self.identities.get(container_id) or Identity(container_id)

    def present(self, selection: Selection) -> Present:
        known = [i for i in self.identities.values() if selection.fits(i)]
        return Present([{"name": identity.name} for identity in known], complete=True)

    async def relay(self, *, task_status: Any) -> None:
        """Pass on what is told, as a frontend does."""
        with self.bus.subscribe() as events:
            task_status.started()
            async for event in events:
                await self.tap.passed()
                self.at = event.seq or self.at
                for feed in list(self._feeds):
                    if feed.selection and self.source.selects(feed.selection, event):
                        feed.hearer.take(event)

    def meet(self, hearer: Hearer) -> Caller:
        """Let a client in, which hears nothing yet."""
        feed = _Feed(self, hearer)
        self._feeds.append(feed)
        return Caller(outlet=hearer.hear, feed=feed)

    def tell(self, count: int = 1, container: str = KEY) -> None:
        """Tell as many messages at once."""
        for _ in range(count):
            self.writer.tell(MessageReceived(container_id=container, message={"command": "x"}))

    async def follow(self, hearer: Hearer, since: Position, *, task_status: Any) -> None:
        """Be a host application that reads a stream of its own."""
        with EventStream(self.source, since, EVERYTHING) as events:
            task_status.started()
            async for event in events:
                await hearer.hear(event)

    async def prune(self, through: int) -> None:
        """Keep nothing up to the page of a number."""
        await self.journal.commit([DropThrough(Table.EVENTS, number_key(through))])


class _Feed:
    def __init__(self, floor: Floor, hearer: Hearer) -> None:
        self._floor = floor
        self.hearer = hearer
        self.selection: Selection | None = None

    @property
    def at(self) -> int:
        return self._floor.at

    def enter(self, selection: Selection) -> None:
        self.selection = selection

    def leave(self) -> None:
        self.selection = None


@asynccontextmanager
async def floor(
    journal: MemoryJournal | None = None, epoch: str = "one", last: int = 0
) -> AsyncIterator[Floor]:
    """One life of it all."""
    async with anyio.create_task_group() as group:
        found = Floor(journal or MemoryJournal(), epoch, last, group)
        await group.start(found.relay)
        yield found
        group.cancel_scope.cancel()


async def until(condition: Any) -> None:
    """Wait until something holds."""
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.001)


def unbroken(numbers: Sequence[int]) -> bool:
    """Whether each number follows the one before it."""
    return list(numbers) == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
