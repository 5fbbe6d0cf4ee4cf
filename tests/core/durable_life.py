"""One life of what carries durable messages, over a journal that outlives it, and a flow."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ByteStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from flow_manager_core.bus import EventBus
from flow_manager_core.channel import Channel
from flow_manager_core.durable.letters import Letter
from flow_manager_core.durable.outbox import Draft
from flow_manager_core.durable.post import Post
from flow_manager_core.errors import SystemFault
from flow_manager_core.event_log import LoggedEvent, events_of
from flow_manager_core.events import Event, now
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import Change, Journal, JournalHangs, Table
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import Container, ContainerState, Message
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.reporter import ChannelReporter, Reporter
from flow_manager_core.settings import Settings
from flow_manager_core.socket_stream import SocketStream
from flow_manager_core.terms import Terms
from flow_manager_core.wire import standard_format

EPOCH = "e5"
KEY = "c" * 64
PATIENCE = 20.0


class Killed(BaseException):
    """The process died."""


class FaultyJournal(MemoryJournal):
    """Refuses while it is told to, and dies at the commit that it is told.

    `unreadable`: so many reads fail. `lies`: it makes so many commits, and says that it has not; a
    writer may try each twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refusing = False
        self.lies = 0
        self.unreadable = 0
        self.commits = 0
        self.die_at = 0
        self.edge = "before"
        self.died = False

    async def get(self, table: Table, keys: Collection[str]) -> Mapping[str, bytes]:
        if self.unreadable:
            self.unreadable -= 1
            raise SystemFault("The disk cannot be read", retryable=True)
        return await super().get(table, keys)

    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        await anyio.lowlevel.checkpoint()
        if self.refusing:
            raise SystemFault("The disk is full", retryable=True)
        self.commits += 1
        last = self.commits == self.die_at
        if not (last and self.edge == "before"):
            await super().commit(changes, urgent=urgent)
        if self.lies:
            self.lies -= 1
            raise JournalHangs("The disk did not say what came of it")
        if last:
            self.died = True
            raise Killed


class Flow:
    """A flow that speaks the protocol, written from its description alone."""

    def __init__(self, connected: socket.socket) -> None:
        self.stream = SocketStream(connected)
        self.reader = BufferedByteReceiveStream(self.stream)

    async def send(self, command: str, data: Any = None, **more: Any) -> None:
        body = json.dumps({"command": command, "data": data, **more}).encode()
        await self.stream.send(struct.pack(">I", len(body)) + body)

    async def receive(self) -> dict[str, Any]:
        with anyio.fail_after(PATIENCE):
            (length,) = struct.unpack(">I", await self.reader.receive_exactly(4))
            body: dict[str, Any] = json.loads(await self.reader.receive_exactly(length))
            return body

    async def hello(self, source: str = "s", epoch: str = "", seen: int = 0) -> dict[str, Any]:
        """Greet, and return what the welcome says."""
        durable = {"source": source, "epoch": epoch, "seen": seen}
        await self.send("hello", {"protocol": 2, "heartbeat": True, "durable": durable})
        welcome = await self.receive()
        assert welcome["command"] == "welcome", welcome
        found: dict[str, Any] = welcome["data"]
        return found

    async def numbers(self, count: int) -> list[int]:
        """Receive messages; return their numbers."""
        return [(await self.receive())["seq"] for _ in range(count)]

    async def ack(self, number: int, epoch: str = EPOCH) -> None:
        await self.send("ack", {"epoch": epoch, "seq": number})

    async def silent(self) -> bool:
        """Whether nothing comes."""
        with anyio.move_on_after(0.05):
            await self.receive()
            return False
        return True


class Life:
    """Everything between the journal and the flow of one container."""

    def __init__(self, journal: Journal, settings: Settings, last: int, group: TaskGroup) -> None:
        self._group = group
        self._sockets: list[socket.socket] = []
        self.heard: list[Event] = []
        self.journal = journal
        self.writer = JournalWriter(journal, self.heard.extend, epoch=EPOCH, last=last)
        self.reporter = Reporter(
            EventBus(), self.writer, lambda error: standard_format(error, now()), Metrics()
        )
        self.post = Post(self.writer, self.reporter, settings, group)
        self.record = ContainerRecord("flow", Terms())
        self.record.container = Container(
            id=KEY, name="flow", image="image", state=ContainerState.RUNNING, created=now()
        )
        self.channel = Channel(
            ChannelReporter(self.record, self.reporter, lambda _: None),
            settings.frame_limit,
            lambda error: Message("error", error.message),
            lines=self.post.lines(self.record),
        )
        self.record.channel = self.channel

    async def accept(self, data: Any, request_id: str | None = None, **more: Any) -> Letter:
        """Take a message in."""
        message = Message("do", data)
        draft = Draft(container_id=KEY, message=message, request_id=request_id, **more)
        return await self.post.outbox.accept(draft)

    async def connect(self) -> Flow:
        """A new connection of the flow."""
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        self._sockets += [ours, theirs]
        before = self.channel.connections
        self._group.start_soon(self._serve, SocketStream(ours))
        await until(lambda: self.channel.connections > before)
        return Flow(theirs)

    def close(self) -> None:
        """Close what the flows connected."""
        for each in self._sockets:
            each.close()

    async def _serve(self, stream: ByteStream) -> None:
        async with stream:
            await self.channel.serve(stream)

    def told(self, kind: type[Event]) -> list[Any]:
        """The events of a kind that were published in this life."""
        return [event for event in self.heard if isinstance(event, kind)]


@asynccontextmanager
async def life(journal: Journal, **settings: Any) -> AsyncIterator[Life]:
    """Live until the block ends, which is as sudden as a kill."""
    pages = await journal.read(Table.EVENTS, newest_first=True, limit=1)
    async with anyio.create_task_group() as group:
        made = Life(journal, Settings(**settings), int(pages[0][0]) if pages else 0, group)
        group.start_soon(made.writer.run)
        await made.post.load()
        group.start_soon(made.post.run)
        try:
            yield made
        finally:
            group.cancel_scope.cancel()
            made.close()


async def until(condition: Any) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.001)


async def log_of(journal: Journal, name: str) -> list[LoggedEvent]:
    """The events of a name that the journal has."""
    pages = await journal.read(Table.EVENTS, limit=1_000_000)
    return [e for _, page in pages for e in events_of(page) if e.name == name]
