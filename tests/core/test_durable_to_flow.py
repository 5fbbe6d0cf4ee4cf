"""A durable message waits for its flow, and goes to it in order until it is acknowledged."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from flow_manager_core.durable.box import WINDOW
from flow_manager_core.durable.letters import Letter, Reason, Status, body_of, row_of
from flow_manager_core.errors import InvalidRequest, SystemFault
from flow_manager_core.events import (
    ErrorReported,
    MessageDelivered,
    MessageReceived,
    MessageUndeliverable,
)
from flow_manager_core.framing import BadFrame
from flow_manager_core.journals import Table
from flow_manager_core.memory_journal import MemoryJournal
from tests.core.durable_life import EPOCH, KEY, PATIENCE, FaultyJournal, Flow, life, log_of, until

pytestmark = pytest.mark.anyio


async def drained(flow: Flow) -> list[Any]:
    """Receive and acknowledge all that comes."""
    found = []
    while True:
        with anyio.move_on_after(0.1):
            message = await flow.receive()
            found.append(message["data"])
            await flow.ack(message["seq"])
            continue
        return found


async def row(journal: MemoryJournal, letter: Letter) -> bytes:
    return (await journal.get(Table.OUTBOX, [letter.key]))[letter.key]


async def test_the_welcome_comes_first_and_messages_in_order_of_acceptance() -> None:
    async with life(MemoryJournal()) as m:
        letters = [await m.accept(n) for n in range(5)]
        flow = await m.connect()
        assert await flow.hello() == {
            "protocol": 2,
            "epoch": EPOCH,
            "stored": 0,
            "window": WINDOW,
        }
        got = [await flow.receive() for _ in range(5)]
        assert got == [
            {"command": "do", "data": n, "seq": letter.number} for n, letter in enumerate(letters)
        ]
        await flow.ack(letters[2].number)
        await until(lambda: letters[2].gone)
        assert [letter.status for letter in letters] == [*["delivered"] * 3, *["sent"] * 2]
        told = [f"{EPOCH}-{letter.number}" for letter in letters[:3]]
        assert [event.message_id for event in m.told(MessageDelivered)] == told
        assert [event.seq > 0 for event in m.told(MessageDelivered)] == [True] * 3


async def test_what_is_accepted_while_the_flow_is_there_goes_out_at_once() -> None:
    async with life(MemoryJournal()) as m:
        flow = await m.connect()
        await flow.hello()
        for number in range(3):
            await m.accept({"x": number})
            assert (await flow.receive())["data"] == {"x": number}


async def test_at_most_a_window_is_under_way() -> None:
    async with life(MemoryJournal()) as m:
        letters = [await m.accept(n) for n in range(WINDOW + 10)]
        flow = await m.connect()
        await flow.hello()
        numbers = await flow.numbers(WINDOW)
        assert await flow.silent()
        await flow.ack(numbers[3])
        assert await flow.numbers(4) == [letter.number for letter in letters[WINDOW : WINDOW + 4]]
        assert await flow.silent()


async def test_bytes_under_way_are_bounded_but_one_message_always_goes() -> None:
    async with life(MemoryJournal(), frame_limit=8 * 1024**2, durable_bytes=64 * 1024**2) as m:
        for letter in "abc":
            await m.accept(letter * 5 * 1024**2)
        flow = await m.connect()
        await flow.hello()
        for letter in "abc":
            message = await flow.receive()
            assert message["data"][0] == letter
            assert await flow.silent()
            await flow.ack(message["seq"])


async def test_after_a_break_all_that_was_not_acknowledged_comes_again() -> None:
    async with life(MemoryJournal()) as m:
        letters = [await m.accept(n) for n in range(4)]
        flow = await m.connect()
        await flow.hello()
        await flow.numbers(4)
        await flow.ack(letters[1].number)
        await until(lambda: letters[1].gone)
        flow = await m.connect()  # the newest connection wins
        await flow.hello()
        assert await flow.numbers(2) == [letters[2].number, letters[3].number]
        assert letters[2].attempts == 1
        assert letters[3].attempts == 0


async def test_what_the_flow_has_seen_in_this_epoch_counts_as_acknowledged() -> None:
    async with life(MemoryJournal()) as m:
        letters = [await m.accept(n) for n in range(4)]
        flow = await m.connect()
        await flow.hello()
        await flow.numbers(4)
        flow = await m.connect()
        await flow.hello(epoch=EPOCH, seen=letters[2].number)
        assert await flow.numbers(1) == [letters[3].number]
        flow = await m.connect()
        await flow.hello(epoch="of another journal", seen=letters[3].number)
        assert await flow.numbers(1) == [letters[3].number]


async def test_an_ack_for_what_was_never_sent_is_told_and_ignored() -> None:
    async with life(MemoryJournal()) as m:
        flow = await m.connect()
        await flow.hello()
        letter = await m.accept(1)
        await flow.receive()
        bad: list[Any] = [
            {"epoch": EPOCH, "seq": letter.number + 1},
            {"epoch": EPOCH, "seq": True},
            {"seq": 1},
            None,
        ]
        for data in bad:
            await flow.send("ack", data)
            assert (await flow.receive())["command"] == "error"
        await flow.ack(letter.number, epoch="of a journal that is no more")
        assert not letter.gone
        await until(lambda: len(m.told(ErrorReported)) == len(bad))
        await flow.ack(letter.number)
        await until(lambda: letter.gone)


async def test_a_message_waits_through_the_managers_lives_and_keeps_its_place() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        first = [(await m.accept(n)).number for n in range(120)]
    async with life(journal) as m:
        second = [(await m.accept(n)).number for n in range(120, 130)]
        assert min(second) > max(first)
        flow = await m.connect()
        await flow.hello()
        assert await drained(flow) == list(range(130))
        assert m.post.outbox.totals.messages == m.post.outbox.totals.size == 0
    assert await journal.read(Table.OUTBOX) == []


async def test_an_ack_of_what_an_earlier_life_sent_is_good() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        letter = await m.accept(1)
        flow = await m.connect()
        await flow.hello()
        await flow.receive()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        await flow.ack(letter.number)
        await until(lambda: m.told(MessageDelivered))
        assert m.told(ErrorReported) == []


async def test_the_same_request_again_gets_the_same_message_before_and_after_its_end() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        letter = await m.accept("x", request_id="r1")
        assert (await m.accept("x", request_id="r1")).number == letter.number
        with pytest.raises(InvalidRequest, match="different send_message"):
            await m.accept("y", request_id="r1")
    async with life(journal) as m:
        assert (await m.accept("x", request_id="r1")).number == letter.number
        flow = await m.connect()
        await flow.hello()
        assert await drained(flow) == ["x"]
        await until(lambda: m.told(MessageDelivered))
        again = await m.accept("x", request_id="r1")
        assert (again.number, again.status) == (letter.number, Status.DELIVERED)
    async with life(journal) as m:
        assert (await m.accept("x", request_id="r1")).number == letter.number
        with pytest.raises(InvalidRequest, match="different send_message"):
            await m.accept("y", request_id="r1")


async def test_the_same_request_twice_at_once_is_one_message() -> None:
    async with life(MemoryJournal()) as m:
        found: list[int] = []

        async def send() -> None:
            found.append((await m.accept("x", request_id="r")).number)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(send)
        assert len(set(found)) == 1
        assert m.post.outbox.totals.messages == 1


async def test_a_journal_that_refuses_accepts_nothing_and_leaves_no_trace() -> None:
    journal = FaultyJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        journal.refusing = True
        with pytest.raises(SystemFault, match="disk is full"):
            await m.accept("lost", request_id="r")
        journal.refusing = False
        await until(lambda: m.post.outbox.totals.messages == 0)
        await m.accept("kept", request_id="r")
        assert await drained(flow) == ["kept"]


async def test_an_acknowledgement_that_cannot_be_recorded_is_recorded_later() -> None:
    journal = FaultyJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        letter = await m.accept(1)
        await flow.receive()
        journal.refusing = True
        await flow.ack(letter.number)
        await until(lambda: letter.end is not None)
        assert m.told(MessageDelivered) == []
        journal.refusing = False
        await until(lambda: letter.gone)
        assert len(m.told(MessageDelivered)) == 1


async def test_a_client_that_vanishes_while_its_message_is_stored_has_sent_it() -> None:
    async with life(MemoryJournal()) as m:
        flow = await m.connect()
        await flow.hello()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await m.accept("said")
        assert (await flow.receive())["data"] == "said"


@pytest.mark.parametrize(
    "bound",
    [
        {"durable_messages": 2},
        {"durable_messages_total": 2},
        {"durable_bytes": 100},
        {"durable_bytes_total": 100},
    ],
)
async def test_too_many_messages_are_refused_by_the_settings_name(bound: dict[str, int]) -> None:
    async with life(MemoryJournal(), **bound) as m:
        flow = await m.connect()
        await flow.hello()
        for _ in range(2):
            await m.accept("x")
        with pytest.raises(SystemFault, match=next(iter(bound))) as refused:
            await m.accept("x" * 40)
        assert refused.value.retryable
        assert await drained(flow) == ["x", "x"]
        await m.accept("x" * 40)


async def test_a_message_over_the_limit_of_a_frame_is_refused() -> None:
    async with life(MemoryJournal(), frame_limit=2000) as m:
        with pytest.raises(BadFrame, match="over the limit"):
            await m.accept("x" * 2000)
        assert m.post.outbox.totals.messages == 0


async def test_a_message_expires_while_its_flow_is_away_and_its_end_is_kept_whole() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        stays = await m.accept("stays")
        letter = await m.accept({"a": 1}, ttl=0.05)
        await until(lambda: letter.gone)
        (event,) = m.told(MessageUndeliverable)
        assert (event.reason, event.attempts) == ("ttl", 0)
        assert event.message == {"command": "do", "data": {"a": 1}}
        found = await m.post.outbox.dead.find(letter.number)
        assert found is not None
        assert found[0].status is Status.UNDELIVERABLE
        flow = await m.connect()
        await flow.hello()
        assert await flow.numbers(1) == [stays.number]
        assert await flow.silent()


async def test_time_runs_while_there_is_no_manager() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        letter = await m.accept("late", ttl=0.1)
    await anyio.sleep(0.15)
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        await until(lambda: m.told(MessageUndeliverable))
        assert await flow.silent()
        assert m.told(MessageUndeliverable)[0].message_id == f"{EPOCH}-{letter.number}"


async def test_broken_deliveries_end_the_first_message_alone() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        poison = await m.accept("poison", max_deliveries=3)
        innocent = await m.accept("innocent", max_deliveries=1)
        body = body_of(await row(journal, poison))
        for _ in range(2):
            flow = await m.connect()
            await flow.hello()
            await flow.numbers(2)
            await flow.stream.aclose()
            await until(lambda: not m.channel.connected)
        with anyio.fail_after(PATIENCE):
            while (await journal.get(Table.OUTBOX, [poison.key]))[poison.key] != row_of(
                poison, body
            ):
                await anyio.sleep(0.001)
    async with life(journal) as m:  # what was counted is kept
        flow = await m.connect()
        await flow.hello()
        await flow.numbers(2)
        await flow.stream.aclose()
        await until(lambda: m.told(MessageUndeliverable))
        (event,) = m.told(MessageUndeliverable)
        assert (event.reason, event.attempts) == ("max_deliveries", 3)
        assert event.message_id == f"{EPOCH}-{poison.number}"
        flow = await m.connect()
        await flow.hello()
        assert await flow.numbers(1) == [innocent.number]


async def test_a_deleted_containers_messages_end_told_and_nothing_of_it_is_left() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        flow = await m.connect()
        await flow.hello()
        for number in range(3):
            await m.accept(number)
        await flow.send("said", seq=1)
        for _ in range(4):  # three messages and an acknowledgement
            await flow.receive()
        await m.post.end(KEY)
        told = m.told(MessageUndeliverable)
        assert [event.message["data"] for event in told] == [0, 1, 2]
        assert {event.reason for event in told} == {str(Reason.CONTAINER_DELETED)}
        assert m.post.outbox.totals.messages == 0
    assert await journal.read(Table.OUTBOX) == []
    assert await journal.read(Table.INBOX) == []
    assert len(await journal.read(Table.SETTLED)) == 3


async def test_a_deleted_containers_messages_end_later_where_the_journal_refuses_now() -> None:
    journal = FaultyJournal()
    async with life(journal) as m:
        await m.accept(1)
        journal.refusing = True
        await m.post.end(KEY)
        journal.refusing = False
        await until(lambda: m.told(MessageUndeliverable))


async def test_messages_of_a_container_that_went_while_there_was_no_manager_end() -> None:
    journal = MemoryJournal()
    async with life(journal) as m:
        await m.accept(1)
    async with life(journal) as m:
        await m.post.sweep({KEY})
        assert m.told(MessageUndeliverable) == []
        await m.post.sweep(set())
        assert len(m.told(MessageUndeliverable)) == 1


async def test_only_so_many_ends_are_remembered() -> None:
    journal = MemoryJournal()
    async with life(journal, settled_messages=5) as m:
        flow = await m.connect()
        await flow.hello()
        for number in range(30):
            letter = await m.accept(number, request_id=str(number))
            await flow.receive()
            await flow.ack(letter.number)
            await until(lambda letter=letter: letter.gone)
        for number in range(30):
            letter = await m.accept(number, ttl=0.001)
            await until(lambda letter=letter: letter.gone)
        assert len(await journal.read(Table.SETTLED)) <= 12
        assert len(await log_of(journal, "message_delivered")) == 30


async def test_what_a_flow_says_before_or_without_a_durable_hello_is_as_it_ever_was() -> None:
    async with life(MemoryJournal()) as m:
        letter = await m.accept(1)
        hellos: list[Any] = [
            None,
            {"protocol": 1, "durable": {"source": "s", "epoch": "", "seen": 0}},
            {"protocol": 2, "heartbeat": True},
            {"protocol": 2, "durable": {"source": "", "epoch": "", "seen": 0}},
            {"protocol": 2, "durable": {"source": "s" * 65, "epoch": "", "seen": 0}},
            {"protocol": 2, "durable": {"source": "s\n", "epoch": "", "seen": 0}},
            {"protocol": 2, "durable": {"source": "s", "epoch": 1, "seen": 0}},
            {"protocol": 2, "durable": {"source": "s", "epoch": "", "seen": True}},
            {"protocol": 2, "durable": {"source": "s", "epoch": "", "seen": -1}},
            {"protocol": 2, "durable": True},
        ]
        for hello in hellos:
            flow = await m.connect()
            await flow.send("hello", hello)
            await flow.send("ack", {"epoch": EPOCH, "seq": letter.number}, seq=7)
            await until(lambda: any("seq" in e.message for e in m.told(MessageReceived)))
            assert await flow.silent()
            assert letter.sent_at is None
            m.heard.clear()
