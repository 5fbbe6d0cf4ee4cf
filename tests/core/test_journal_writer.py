"""Nobody hears of what the journal does not know, and what came first is kept first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from flow_manager_core.errors import SystemFault
from flow_manager_core.event_log import events_of
from flow_manager_core.events import Event, ImagePullProgressed, MessageReceived
from flow_manager_core.journal_writer import JournalWriter
from flow_manager_core.journals import Change, Put, Table
from flow_manager_core.memory_journal import MemoryJournal

pytestmark = pytest.mark.anyio

KEY = "c" * 64


def said(number: int) -> Event:
    return MessageReceived(container_id=KEY, message={"command": "x", "data": number})


class Held(MemoryJournal):
    """Commits when it is let, and refuses what has a word in it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = anyio.Event()
        self.commits = 0

    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        await self.gate.wait()
        self.commits += 1
        if any(b"refuse" in change.value for change in changes if isinstance(change, Put)):
            raise SystemFault("The disk is full", retryable=True)
        await super().commit(changes, urgent=urgent)


@asynccontextmanager
async def running(journal: MemoryJournal) -> AsyncIterator[tuple[JournalWriter, list[Event]]]:
    heard: list[Event] = []
    writer = JournalWriter(journal, heard.extend, epoch="e", last=6)
    async with anyio.create_task_group() as group:
        group.start_soon(writer.run)
        yield writer, heard
        group.cancel_scope.cancel()


async def test_an_event_is_published_once_it_is_kept_and_with_its_number() -> None:
    journal = Held()
    async with running(journal) as (writer, heard):
        writer.tell(said(1))
        writer.tell(said(2))
        await anyio.wait_all_tasks_blocked()
        assert heard == []
        journal.gate.set()
        await writer.flushed()
        assert [(event.seq, event.epoch) for event in heard] == [(7, "e"), (8, "e")]
    pages = [page for _, page in await journal.read(Table.EVENTS)]
    assert [event.seq for page in pages for event in events_of(page)] == [7, 8]
    assert writer.last == 8


async def test_what_gathers_during_a_commit_is_one_group() -> None:
    journal = Held()
    async with running(journal) as (writer, _), anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(writer.write, Put(Table.FACTS, str(number), b"1"))
        await anyio.wait_all_tasks_blocked()
        journal.gate.set()
    assert journal.commits <= 2
    assert len(await journal.read(Table.FACTS)) == 100


async def test_a_refused_change_fails_alone_and_its_event_is_not_told() -> None:
    journal = Held()
    async with running(journal) as (writer, heard):
        failed: list[SystemFault] = []

        async def write(value: bytes, number: int) -> None:
            try:
                await writer.write(Put(Table.FACTS, str(number), value), events=[said(number)])
            except SystemFault as error:
                failed.append(error)

        async with anyio.create_task_group() as group:
            for number, value in enumerate([b"a", b"refuse", b"b"]):
                group.start_soon(write, value, number)
            await anyio.wait_all_tasks_blocked()
            journal.gate.set()
    assert [error.message for error in failed] == ["The disk is full"]
    assert [event.message["data"] for event in heard if isinstance(event, MessageReceived)] == [
        0,
        2,
    ]
    assert [event.seq for event in heard] == [7, 8]


async def test_what_is_not_kept_has_no_number_and_waits_behind_what_is() -> None:
    journal = Held()
    async with running(journal) as (writer, heard):
        sample = ImagePullProgressed(container_id="", image="i", status="s")
        writer.tell(sample)
        assert heard == [sample]
        writer.tell(said(1))
        writer.tell(sample)
        await anyio.wait_all_tasks_blocked()
        assert heard == [sample]
        journal.gate.set()
        await writer.flushed()
        assert [event.seq for event in heard] == [0, 7, 0]
