"""Nobody hears of what the journal does not know, and what came first is kept first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from flow_manager_core.errors import SystemFault
from flow_manager_core.event_log import PAGE, LoggedEvent, events_of
from flow_manager_core.events import (
    ContainerCrashed,
    Event,
    ImagePullProgressed,
    MessageReceived,
)
from flow_manager_core.journal import writer as journal_writer
from flow_manager_core.journal.writer import CROWDED, CROWDED_BYTES, JournalWriter
from flow_manager_core.journals import Change, Drop, JournalHangs, Put, Table, number_key
from flow_manager_core.memory_journal import MemoryJournal

pytestmark = pytest.mark.anyio

KEY = "c" * 64


def said(number: int, more: str = "") -> Event:
    message = {"command": "x", "data": number, "more": more}
    return MessageReceived(container_id=KEY, message=message)


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


async def test_a_crash_does_not_wait_for_messages_to_gather_and_they_keep_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_writer, "PACE", 100.0)
    crash = ContainerCrashed(container_id=KEY, exit_code=3, crash_details={})
    async with running(MemoryJournal()) as (writer, heard):
        await writer.write(Put(Table.FACTS, "first", b"1"))
        writer._committer.took = 100.0
        writer.tell(said(1))
        await anyio.wait_all_tasks_blocked()
        assert heard == []
        writer.tell(crash)
        writer.tell(said(2))
        with anyio.fail_after(10):
            while len(heard) < 3:
                await anyio.sleep(0.001)
        assert [event.name for event in heard] == [
            "message_received",
            "container_crashed",
            "message_received",
        ]
        assert [event.seq for event in heard] == [7, 8, 9]


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
    # Which of the tasks came first is its loop's affair.
    told = [event.message["data"] for event in heard if isinstance(event, MessageReceived)]
    assert sorted(told) == [0, 2]
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


class Moody(MemoryJournal):
    """Refuses what is not urgent for as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.mood: Exception | None = None
        self.asked = anyio.Event()

    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        self.asked.set()
        if self.mood is not None and not urgent:
            raise self.mood
        await super().commit(changes, urgent=urgent)

    async def log(self) -> list[LoggedEvent]:
        return [event for _, page in await self.read(Table.EVENTS) for event in events_of(page)]


FULL = SystemFault("The disk is full", retryable=True)


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_writer, "PROBE", 0.01)


async def until(check: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not check():
            await anyio.sleep(0.001)


async def test_whoever_writes_when_the_writer_has_ended_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def publish(_events: object) -> None:
        raise ValueError("a subscriber's own fault")

    writer = JournalWriter(MemoryJournal(), publish, epoch="e")

    async def write(key: str) -> None:
        with anyio.CancelScope(shield=True), pytest.raises(SystemFault):
            await writer.write(Put(Table.FACTS, key, b"1"))

    async def end() -> None:
        with pytest.raises(ValueError, match="a subscriber's"):
            await writer.run()

    async with anyio.create_task_group() as group:
        for number in range(journal_writer.GROUP + 10):
            group.start_soon(write, str(number))
        await anyio.wait_all_tasks_blocked()
        writer.tell(MessageReceived(container_id=KEY, message={"data": 1}))
        group.start_soon(end)
    assert "The journal closed before all events were kept" in caplog.text
    with pytest.raises(SystemFault, match="closed"):
        await writer.write(Put(Table.FACTS, "later", b"1"))
    await writer.flushed()


async def test_an_event_that_is_not_json_is_left_out_and_the_rest_is_kept() -> None:
    journal = Moody()
    async with running(journal) as (writer, heard):
        loop: list[object] = []
        loop.append(loop)
        for data in (1, object(), loop, "\ud800", 2**70, 2):
            writer.tell(MessageReceived(container_id=KEY, message={"data": data}))
        await writer.flushed()
        assert [event.seq for event in heard] == list(range(7, 7 + len(heard)))
    kept = [event.body["message"]["data"] for event in await journal.log()]
    assert kept == [1, "\ud800", 2**70, 2]
    assert len(heard) == len(kept)


async def test_while_the_journal_refuses_events_are_told_without_a_number(
    quick_probes: None,
) -> None:
    journal = Moody()
    async with running(journal) as (writer, heard):
        writer.tell(said(1))
        await writer.flushed()
        journal.mood = FULL
        writer.tell(said(2), said(3))
        writer.tell(said(4))
        await writer.flushed()
        assert [event.seq for event in heard] == [7, 0, 0, 0]
        assert writer.refuses == "The disk is full"


async def test_what_is_missing_has_an_entry_in_its_place_once_the_journal_keeps_again() -> None:
    journal = Moody()
    async with running(journal) as (writer, heard):
        journal.mood = FULL
        writer.tell(said(1), said(2))
        await writer.flushed()
        journal.mood = None
        writer.tell(said(3))
        await writer.flushed()
        writer.tell(said(4))
        await writer.flushed()
        assert [(event.name, event.seq) for event in heard[2:]] == [
            ("gap", 7),
            ("message_received", 8),
            ("message_received", 9),
        ]
        assert writer.refuses == ""
    gap, *_ = await journal.log()
    assert (gap.name, gap.body["count"], gap.body["reason"]) == ("gap", 2, "The disk is full")
    assert gap.body["since"] <= gap.body["timestamp"]
    assert gap.body["since"].endswith("Z")


async def test_the_entry_is_kept_although_nothing_else_happens(quick_probes: None) -> None:
    journal = Moody()
    async with running(journal) as (writer, heard):
        journal.mood = FULL
        writer.tell(said(1))
        await writer.flushed()
        journal.asked = anyio.Event()
        with anyio.fail_after(5):
            await journal.asked.wait()  # it is tried, and refused again
        journal.mood = None
        await until(lambda: len(heard) == 2)
    assert [event.name for event in await journal.log()] == ["gap"]


async def test_what_is_urgent_is_kept_while_the_rest_is_refused(quick_probes: None) -> None:
    journal = Moody()
    async with running(journal) as (writer, _):
        await writer.write(Put(Table.CONTAINERS, "a", b"1"))
        journal.mood = FULL
        with pytest.raises(SystemFault) as refused:
            await writer.write(Put(Table.CONTAINERS, "b", b"1"))
        assert refused.value.retryable
        await writer.write(Drop(Table.CONTAINERS, "a"), urgent=True)
        assert writer.refuses
        journal.mood = None
        await until(lambda: not writer.refuses)
        await writer.write(Put(Table.CONTAINERS, "b", b"1"))
    assert dict(await journal.read(Table.CONTAINERS)) == {"b": b"1"}


async def test_a_journal_that_fails_in_a_way_of_its_own_refuses_and_is_asked_again() -> None:
    journal = Moody()
    async with running(journal) as (writer, heard):
        journal.mood = ZeroDivisionError("of a plugin")
        with pytest.raises(SystemFault, match="ZeroDivisionError"):
            await writer.write(Put(Table.FACTS, "a", b"1"))
        journal.mood = None
        await writer.write(Put(Table.FACTS, "b", b"1"), events=[said(1)])
    assert [event.seq for event in heard] == [7]


async def test_numbers_are_not_given_again_where_nothing_is_known_of_a_commit() -> None:
    journal = Moody()
    async with running(journal) as (writer, heard):
        journal.mood = JournalHangs("The disk does not answer")
        writer.tell(said(1), said(2))
        await writer.flushed()
        journal.mood = None
        writer.tell(said(3))
        await writer.flushed()
        assert [(event.name, event.seq) for event in heard] == [
            ("message_received", 0),
            ("message_received", 0),
            ("gap", 9),
            ("message_received", 10),
        ]


async def test_what_waits_at_the_end_is_kept() -> None:
    journal = Moody()
    heard: list[Event] = []
    writer = JournalWriter(journal, heard.extend, epoch="e")
    async with writer.running():
        writer.tell(said(1))
        writer.tell(said(2))
    assert [event.seq for event in heard] == [1, 2]
    assert len(await journal.log()) == 2


async def test_a_flood_of_large_events_is_kept_in_pages_of_a_bounded_size() -> None:
    journal = Moody()
    async with running(journal) as (writer, _):
        for _number in range(20):
            writer.tell(MessageReceived(container_id=KEY, message={"data": "x" * 100_000}))
        await writer.flushed()
    pages = await journal.read(Table.EVENTS)
    assert max(len(page) for _, page in pages) < 2 * PAGE
    for key, page in pages:
        *_, last = events_of(page)
        assert number_key(last.seq) == key
    assert [event.seq for event in await journal.log()] == list(range(7, 27))


@pytest.mark.parametrize(("count", "size"), [(CROWDED + 1, 1), (3, CROWDED_BYTES // 2)])
async def test_all_flows_that_were_held_back_go_on_together(count: int, size: int) -> None:
    journal = Held()
    async with running(journal) as (writer, _), anyio.create_task_group() as group:
        for number in range(count):
            writer.tell(said(number, "x" * size))
        assert writer.crowded
        for _ in range(3):
            group.start_soon(writer.relief)
        await anyio.wait_all_tasks_blocked()
        journal.gate.set()
        with anyio.fail_after(10):
            while writer.crowded:
                await anyio.sleep(0.001)
        await anyio.wait_all_tasks_blocked()
        assert not group.cancel_scope.cancel_called
        group.cancel_scope.deadline = anyio.current_time() + 5
    assert not group.cancel_scope.cancelled_caught
