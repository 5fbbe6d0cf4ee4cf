"""A journal that made a commit and could not say so: nothing is lost, and nothing told twice."""

from __future__ import annotations

import pytest

from flow_manager_core.errors import SystemFault
from tests.core.durable_life import FaultyJournal, life, log_of, until

pytestmark = pytest.mark.anyio


async def test_a_message_that_was_taken_after_all_is_delivered_and_found_by_its_request() -> None:
    journal = FaultyJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        await m.writer.flushed()
        journal.lies = 2
        with pytest.raises(SystemFault):
            await m.accept("x", request_id="r")
        again = await m.accept("x", request_id="r")
        assert await flow.numbers(1) == [again.number]
        assert await flow.silent()


async def test_an_end_that_was_recorded_after_all_is_told_once() -> None:
    journal = FaultyJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        letter = await m.accept("x")
        dead = await m.accept("y", ttl=0.2)
        await flow.numbers(2)
        journal.lies = 2
        await flow.ack(letter.number)
        await until(lambda: letter.gone)
        assert len(await log_of(journal, "message_delivered")) == 1
        journal.lies = 2
        await until(lambda: dead.gone)
        assert len(await log_of(journal, "message_undeliverable")) == 1


async def test_a_flows_message_that_was_stored_after_all_is_told_once() -> None:
    journal = FaultyJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        await m.writer.flushed()
        journal.lies = 2
        await flow.send("say", 1, seq=1)
        await until(lambda: journal.lies < 2)
        await flow.send("say", 2, seq=2)
        while (await flow.receive())["data"]["seq"] < 2:
            pass
        kept = await log_of(journal, "message_received")
        assert [event.body["message"]["data"] for event in kept] == [1, 2]


async def test_a_message_that_cannot_be_read_now_is_not_overtaken() -> None:
    journal = FaultyJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        journal.unreadable = 1
        large = await m.accept("x" * 100_000)
        small = await m.accept("y")
        assert await flow.numbers(2) == [large.number, small.number]
        assert journal.unreadable == 0
