"""What a flow sends durably is stored once, told once, and acknowledged after that."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from flow_manager_core.durable.box import WINDOW
from flow_manager_core.durable.inbox import SOURCES
from flow_manager_core.events import ErrorReported, MessageReceived
from flow_manager_core.journals import Table
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.models import Message
from tests.core.durable_life import FaultyJournal, Flow, Life, life, log_of, until

pytestmark = pytest.mark.anyio


async def acknowledged(flow: Flow, number: int, source: str = "s") -> None:
    """Read until the flow knows that this is stored."""
    while True:
        frame = await flow.receive()
        assert frame["command"] == "ack"
        assert frame["data"]["source"] == source
        assert "seq" not in frame
        if frame["data"]["seq"] == number:
            return


def data(m: Life) -> list[Any]:
    return [event.message["data"] for event in m.told(MessageReceived)]


async def test_it_is_acknowledged_once_it_is_in_the_journal() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        for number in range(1, 201):
            await flow.send("say", number, seq=number)
        await acknowledged(flow, 200)
        assert data(m) == list(range(1, 201))
        kept = await log_of(journal, "message_received")
        assert [event.body["message"]["data"] for event in kept] == list(range(1, 201))
        assert [key for key, _ in await journal.read(Table.INBOX)] == [f"{m.record.id}/s"]


async def test_what_comes_again_is_acknowledged_again_and_not_told_again() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        await flow.send("say", "a", seq=1)
        await acknowledged(flow, 1)
        await flow.send("say", "a", seq=1)
        await acknowledged(flow, 1)
        flow = await m.connect()
        assert (await flow.hello())["stored"] == 1
        await flow.send("say", "a", seq=1)
        await flow.send("say", "b", seq=2)
        await acknowledged(flow, 2)
    async with life(journal) as m:
        flow = await m.connect()
        assert (await flow.hello())["stored"] == 2
        await flow.send("say", "b", seq=2)
        await flow.send("say", "c", seq=3)
        await acknowledged(flow, 3)
        assert data(m) == ["c"]
    kept = await log_of(journal, "message_received")
    assert [event.body["message"]["data"] for event in kept] == ["a", "b", "c"]


async def test_a_gap_or_a_number_that_is_none_is_a_bad_frame_and_not_stored() -> None:
    async with life(MemoryJournal()) as m:
        flow = await m.connect()
        await flow.hello()
        bad: list[Any] = [2, 0, True, "1"]
        for number in bad:
            await flow.send("say", "bad", seq=number)
            assert (await flow.receive())["command"] == "error"
        await until(lambda: len(m.told(ErrorReported)) == len(bad))
        await flow.send("say", "good", seq=1)
        await acknowledged(flow, 1)
        assert data(m) == ["good"]


async def test_a_frame_without_a_number_is_an_ordinary_message() -> None:
    async with life(MemoryJournal()) as m:
        flow = await m.connect()
        await flow.hello()
        await flow.send("say", "plain")
        await until(lambda: data(m) == ["plain"])
        assert await flow.silent()


async def test_an_answer_finds_its_question_and_is_acknowledged_but_not_told() -> None:
    async with life(MemoryJournal()) as m:
        flow = await m.connect()
        await flow.hello()
        answers: list[Message] = []

        async def ask() -> None:
            answers.append(await m.channel.ask(Message("?", id="q"), 5, lambda _: None))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            assert (await flow.receive())["id"] == "q"
            await flow.send("result", 42, reply_to="q", seq=1)
        assert answers[0].data == 42
        await acknowledged(flow, 1)
        await m.writer.flushed()
        assert data(m) == []


async def test_a_flow_that_ignores_the_window_is_held_back_and_nothing_is_lost() -> None:
    journal = FaultyJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        journal.refusing = True
        count = 3 * WINDOW
        for number in range(1, count + 1):
            await flow.send("say", number, seq=number)
        source = await m.post.inbox.source(m.record.id, "s")
        await until(lambda: source.taken >= WINDOW)
        await anyio.wait_all_tasks_blocked()
        assert source.taken == WINDOW
        assert source.stored == 0
        assert data(m) == []
        journal.refusing = False
        await acknowledged(flow, count)
        assert data(m) == list(range(1, count + 1))


async def test_two_senders_in_one_flow_have_numbers_of_their_own() -> None:
    async with life(MemoryJournal()) as m:
        for source in ("one", "other"):
            flow = await m.connect()
            assert (await flow.hello(source))["stored"] == 0
            await flow.send("say", source, seq=1)
            await acknowledged(flow, 1, source)
        assert data(m) == ["one", "other"]


async def test_only_so_many_senders_are_remembered_the_idle_ones_go() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        for number in range(SOURCES + 3):
            flow = await m.connect()
            await flow.hello(f"s{number}")
            await flow.send("say", number, seq=1)
            await acknowledged(flow, 1, f"s{number}")
            await flow.stream.aclose()
            await until(lambda: not m.channel.connected)
        kept = {key.partition("/")[2] for key, _ in await journal.read(Table.INBOX)}
        assert kept == {f"s{number}" for number in range(3, SOURCES + 3)}


async def test_senders_that_never_said_anything_leave_nothing() -> None:
    async with life(MemoryJournal()) as m:
        for number in range(5):
            flow = await m.connect()
            await flow.hello(f"s{number}")
            await flow.stream.aclose()
            await until(lambda: not m.channel.connected)
        await m.post.inbox.source(m.record.id, "last")
        assert set(m.post.inbox._sources[m.record.id]) == {"last"}
