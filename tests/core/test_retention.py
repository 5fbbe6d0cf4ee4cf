"""The journal does not grow for ever, and nothing that waits is dropped."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from flow_manager_core import retention
from flow_manager_core.event_log import events_of
from flow_manager_core.events import Event, MessageReceived
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import Put, Table, number_key
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.retention import Keeping, Pruner, keeping_of
from flow_manager_core.settings import Settings

pytestmark = pytest.mark.anyio

DAY = 86400.0
WAITING = (Table.CONTAINERS, Table.FACTS, Table.OUTBOX, Table.INBOX, Table.SETTLED)


def said(age: float = 0.0, size: int = 10) -> Event:
    at = datetime.now(UTC) - timedelta(seconds=age)
    return MessageReceived(container_id="c", message={"data": "x" * size}, timestamp=at)


@asynccontextmanager
async def writing() -> AsyncIterator[JournalWriter]:
    writer = JournalWriter(MemoryJournal(), lambda _events: None, epoch="e")
    async with writer.running():
        yield writer


async def numbers(writer: JournalWriter) -> list[int]:
    pages = await writer.journal.read(Table.EVENTS)
    return [event.seq for _, page in pages for event in events_of(page)]


async def keep(writer: JournalWriter, *events: Event) -> None:
    """Keep events, each in a page of its own."""
    for event in events:
        await writer.write(events=[event])


async def test_events_are_dropped_once_they_are_too_old() -> None:
    async with writing() as writer:
        await keep(writer, *(said(age=3 * DAY) for _ in range(200)), said(DAY), said())
        await Pruner(writer, Keeping(age=2 * DAY, size=10**9)).prune()
        assert await numbers(writer) == [201, 202]


async def test_the_oldest_events_are_dropped_where_there_are_too_many_bytes() -> None:
    async with writing() as writer:
        await keep(writer, *(said(size=1000) for _ in range(300)))
        await Pruner(writer, Keeping(age=DAY, size=100_000)).prune()
        left = await numbers(writer)
        assert left == list(range(left[0], 301))
        assert 100_000 - 2000 < await writer.journal.size(Table.EVENTS) <= 100_000


async def test_the_newest_page_stays_so_that_numbers_go_on() -> None:
    async with writing() as writer:
        await keep(writer, said(age=3 * DAY), said(age=3 * DAY))
        await Pruner(writer, Keeping(age=DAY, size=1)).prune()
        assert await numbers(writer) == [2]


async def test_operations_are_dropped_once_they_have_ended_long_ago() -> None:
    old, young = time.time() - 3 * DAY, time.time()
    rows = {
        "over": b'{"state":"done","ended":%f}' % old,
        "young": b'{"ended":%f}' % young,
        "under way": b'{"asked":%f,"ended":null}' % old,
        "no object": b"[1]",
        "no JSON": b"\xff",
    }
    async with writing() as writer:
        await writer.write(*(Put(Table.OPERATIONS, key, value) for key, value in rows.items()))
        many = (Put(Table.OPERATIONS, f"z{n}", rows["over"]) for n in range(200))
        await writer.write(*many)
        await Pruner(writer, Keeping(age=2 * DAY, size=1)).prune()
        left = {key for key, _ in await writer.journal.read(Table.OPERATIONS)}
        assert left == set(rows) - {"over"}


async def test_what_waits_is_never_dropped() -> None:
    ended = b'{"ended":1}'
    async with writing() as writer:
        await writer.write(*(Put(table, number_key(1), ended) for table in WAITING))
        await Pruner(writer, Keeping(age=1.0, size=1)).prune()
        for table in WAITING:
            assert len(await writer.journal.read(table)) == 1


async def test_it_goes_on_beside_the_service_as_much_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "GLANCE", 0.01)
    async with writing() as writer, anyio.create_task_group() as group:
        group.start_soon(Pruner(writer, Keeping(age=DAY, size=20_000)).run)
        await keep(writer, *(said(size=1000) for _ in range(100)))
        with anyio.fail_after(5):
            while await writer.journal.size(Table.EVENTS) > 26_000:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()


def test_a_journal_in_memory_keeps_little_whatever_the_settings_say() -> None:
    settings = Settings(journal_keep_age=30 * DAY, journal_keep_bytes=10**9)
    assert keeping_of(settings, lasting=True) == Keeping(30 * DAY, 10**9)
    small = keeping_of(settings, lasting=False)
    assert (small.age, small.size) == (retention.MEMORY_AGE, retention.MEMORY_BYTES)
