"""Who says where it stands misses nothing and hears nothing twice, or is told of a gap."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from flow_manager_core.contracts import Position, Selection
from flow_manager_core.errors import SystemFault
from flow_manager_core.events import (
    ContainerCrashed,
    Event,
    ImagePullProgressed,
    MessageReceived,
    SnapshotTaken,
)
from flow_manager_core.journals import Put, Table, number_key
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.selection import EVERYTHING, LABELS_LIMIT, NOTHING, Identity
from flow_manager_core.wire import event_json
from tests.core.event_floor import KEY, Floor, Hearer, floor, unbroken, until

pytestmark = pytest.mark.anyio

START = Position("one", 0)


async def test_what_was_missed_comes_first_and_then_what_is_told() -> None:
    async with floor() as f:
        hearer = Hearer()
        f.tell(50)
        await until(lambda: f.at == 50)
        assert f.listeners.begin(f.meet(hearer), EVERYTHING, Position("one", 20)).seq == 20
        f.tell(50)
        await until(lambda: len(hearer.heard) == 80)
        assert hearer.numbers == list(range(21, 101))
        assert not hearer.gaps


async def test_who_reads_slowly_is_given_all_from_the_log_and_holds_nobody_back() -> None:
    async with floor() as f:
        slow, quick = Hearer(), Hearer()
        slow.tap.turn(on=False)
        f.listeners.begin(f.meet(quick), EVERYTHING)
        for total in range(500, 5001, 500):
            f.tell(500)
            await until(lambda total=total: len(quick.heard) == total)
            if total == 500:
                f.listeners.begin(f.meet(slow), EVERYTHING, START)
        assert len(slow.heard) == 1
        assert not f.bus.crowded
        slow.tap.turn(on=True)
        await until(lambda: len(slow.heard) == 5000)
        assert slow.numbers == quick.numbers == list(range(1, 5001))


async def test_a_live_stream_that_is_behind_is_waited_for() -> None:
    async with floor() as f:
        hearer = Hearer()
        f.tap.turn(on=False)
        f.tell(10)
        await until(lambda: f.writer.last == 10)
        f.listeners.begin(f.meet(hearer), EVERYTHING, Position("one", 7))
        await anyio.wait_all_tasks_blocked()
        assert hearer.heard == []
        f.tap.turn(on=True)
        f.tell(2)
        await until(lambda: f.at == 12)
        await until(lambda: hearer.numbers == [8, 9, 10, 11, 12])


async def tell_pages(f: Floor, count: int) -> None:
    """Tell so many events of a page each."""
    for _ in range(count):
        f.tell()
        await f.writer.flushed()
    await until(lambda: f.at == count)


@pytest.mark.parametrize(
    ("since", "reason", "first"),
    [
        (Position("another", 3), "epoch", 1),
        (Position("one", 31), "ahead", 1),
        (Position("one", 3), "retention", 4),
    ],
)
async def test_what_cannot_be_given_is_one_gap_and_a_snapshot(
    since: Position, reason: str, first: int
) -> None:
    async with floor() as f:
        hearer = Hearer()
        await tell_pages(f, 30)
        await f.prune(10)
        f.listeners.begin(f.meet(hearer), EVERYTHING, since)
        f.tell(5)
        await until(lambda: hearer.numbers[-1:] == [35])
        gap, snapshot, *live = hearer.heard
        assert [(g.epoch_, g.from_, g.reason) for g in hearer.gaps] == [("one", first, reason)]
        assert isinstance(snapshot, SnapshotTaken)
        assert (snapshot.seq, snapshot.epoch) == (hearer.gaps[0].to, "one")
        assert snapshot.containers == [{"name": "flow"}]
        assert [event.seq for event in live] == list(range(snapshot.seq + 1, 36))
        assert b'"from":%d' % first in event_json(gap)


async def test_events_that_cannot_be_read_are_a_gap_and_the_live_stream_goes_on() -> None:
    async with floor() as f:
        hearer = Hearer()
        await tell_pages(f, 6)
        await f.journal.commit([Put(Table.EVENTS, number_key(3), b"\xff")])
        f.listeners.begin(f.meet(hearer), EVERYTHING, Position("one", 1))
        await until(lambda: len(hearer.heard) == 3)
        f.tell()
        await until(lambda: hearer.numbers == [2, 7])
        assert [(g.from_, g.to, g.reason) for g in hearer.gaps] == [(3, 6, "damaged")]
        assert isinstance(hearer.heard[2], SnapshotTaken)


async def test_a_position_whose_successor_is_the_oldest_that_is_kept_is_no_gap() -> None:
    async with floor() as f:
        hearer = Hearer()
        await tell_pages(f, 5)
        await f.prune(3)
        f.listeners.begin(f.meet(hearer), EVERYTHING, Position("one", 3))
        await until(lambda: hearer.numbers == [4, 5])
        assert not hearer.gaps


async def test_only_the_last_part_of_a_large_snapshot_says_where_it_is_true() -> None:
    async with floor() as f:
        f.identities.update({str(n): Identity.of(str(n), f"n{n}", {}) for n in range(249)})
        hearer = Hearer()
        f.listeners.begin(f.meet(hearer), EVERYTHING, Position("another", 1))
        await until(lambda: len(hearer.heard) == 4)
        parts = [event for event in hearer.heard if isinstance(event, SnapshotTaken)]
        assert [(p.part, p.parts, len(p.containers)) for p in parts] == [
            (1, 3, 100),
            (2, 3, 100),
            (3, 3, 50),
        ]
        assert [b'"epoch"' in event_json(part) for part in parts] == [False, False, True]


async def test_a_log_that_cannot_be_read_for_a_while_is_read_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flow_manager_core.event_stream.AGAIN", 0.01)

    class Sick(MemoryJournal):
        failures = 3

        async def read(self, *args: Any, **more: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise SystemFault("The disk cannot be read")
            return await super().read(*args, **more)

    async with floor(Sick()) as f:
        hearer = Hearer()
        f.tell(3)
        await until(lambda: f.at == 3)
        f.listeners.begin(f.meet(hearer), EVERYTHING, START)
        await until(lambda: hearer.numbers == [1, 2, 3])


async def test_a_later_choice_replaces_the_former_one_at_once() -> None:
    async with floor() as f:
        hearer = Hearer()
        f.tell(200)
        await until(lambda: f.at == 200)
        caller = f.meet(hearer)
        hearer.tap.turn(on=False)
        f.listeners.begin(caller, EVERYTHING, START)
        await until(lambda: hearer.heard)
        f.listeners.begin(caller, EVERYTHING)
        hearer.tap.turn(on=True)
        f.tell()
        await until(lambda: f.at == 201)
        assert hearer.numbers == [1, 201]
        f.listeners.narrow(caller, NOTHING)
        f.tell()
        await until(lambda: f.at == 202)
        assert hearer.numbers == [1, 201]


async def test_a_client_that_is_gone_is_told_nothing_more() -> None:
    async with floor() as f:
        hearer = Hearer()
        f.tell(200)
        await until(lambda: f.at == 200)
        caller = f.meet(hearer)
        hearer.tap.turn(on=False)
        f.listeners.begin(caller, EVERYTHING, START)
        await until(lambda: hearer.heard)
        caller.close()
        hearer.tap.turn(on=True)
        f.tell()
        await until(lambda: f.at == 201)
        await anyio.wait_all_tasks_blocked()
        assert hearer.numbers == [1]
        with pytest.raises(SystemFault):
            f.listeners.begin(caller, EVERYTHING)


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(containers=("first",)), {"first"}),
        (Selection(containers=("aaaa", "second")), {"first", "second"}),
        (Selection(containers=("a" * 12,)), {"first"}),
        (Selection(labels=frozenset({("team", "x")})), {"first"}),
        (Selection(labels=frozenset({("team", "x")}), containers=("second",)), set()),
        (Selection(without=("first",)), {"second"}),
        (Selection(events=frozenset({"message_received"})), {"first", "second"}),
        (Selection(events=frozenset({"container_crashed"})), set()),
    ],
)
async def test_the_same_is_selected_from_the_log_and_live(
    selection: Selection, wanted: set[str]
) -> None:
    async with floor() as f:
        f.identities = {
            "a" * 64: Identity.of("a" * 64, "first", {"team": "x", "body": "y"}),
            "b" * 64: Identity.of("b" * 64, "second", {}),
        }
        names = {"a" * 64: "first", "b" * 64: "second", "c" * 64: "third"}
        live, late, last = Hearer(), Hearer(), Hearer()
        f.listeners.begin(f.meet(live), selection)
        for key in f.identities:
            f.tell(2, key)
        await until(lambda: f.at == 4)
        f.listeners.begin(f.meet(late), selection, START)
        f.listeners.begin(f.meet(last), Selection(events=frozenset({"message_received"})))
        # By now they are gone, and known from the log alone.
        f.identities = {}
        f.tell(1, "c" * 64)
        await until(lambda: last.heard)
        await anyio.wait_all_tasks_blocked()
        assert {names[event.container_id] for event in live.heard} - {"third"} == wanted
        assert late.heard == live.heard


async def test_labels_that_are_too_large_for_the_log_are_known_while_the_container_is() -> None:
    large = {"team": "x", "note": "y" * LABELS_LIMIT}
    chosen = Selection(labels=frozenset({("team", "x")}))
    async with floor() as f:
        f.identities = {KEY: Identity.of(KEY, "flow", large)}
        f.tell()
        await until(lambda: f.at == 1)
        there, gone = Hearer(), Hearer()
        f.listeners.begin(f.meet(there), chosen, START)
        await until(lambda: there.numbers == [1])
        f.identities = {}
        f.listeners.begin(f.meet(gone), chosen, START)
        await anyio.wait_all_tasks_blocked()
        assert gone.heard == []


async def test_what_the_log_gives_back_is_what_was_told() -> None:
    crash = ContainerCrashed(
        container_id=KEY, exit_code=None, crash_details={"logs": [',"body":', "é"]}
    )
    said = MessageReceived(container_id=KEY, message={"command": "x", "data": 2**70})
    async with floor() as f:
        live, late = Hearer(), Hearer()
        f.listeners.begin(f.meet(live), EVERYTHING)
        f.writer.tell(crash, said, ImagePullProgressed(container_id="", image="i", status="s"))
        await until(lambda: len(live.heard) == 3)
        f.listeners.begin(f.meet(late), EVERYTHING, START)
        await until(lambda: len(late.heard) == 2)
    assert live.heard[:2] == late.heard == [crash, said]
    assert [event_json(event) for event in late.heard] == [event_json(e) for e in live.heard[:2]]


async def test_an_event_of_another_version_is_passed_on_as_it_is() -> None:
    line = b'{"seq":1,"name":"%b","container":"k","at":1.5,"body":{"container_id":"k","n":1}}'
    journal = MemoryJournal()
    page = b"\n".join([line % b"status_changed", (line % b"fireworks").replace(b"1,", b"2,", 1)])
    await journal.commit([Put(Table.EVENTS, number_key(2), page)])
    async with floor(journal, last=2) as f:
        hearer = Hearer()
        f.listeners.begin(f.meet(hearer), EVERYTHING, START)
        await until(lambda: len(hearer.heard) == 2)
    assert [event.name for event in hearer.heard] == ["status_changed", "fireworks"]
    assert event_json(hearer.heard[1]) == b'{"container_id":"k","n":1,"seq":2,"epoch":"one"}'


async def test_a_host_that_reads_slowly_goes_back_to_the_log_and_misses_nothing() -> None:
    async with floor() as f, anyio.create_task_group() as group:
        host = Hearer()
        f.tell(3)
        await until(lambda: f.at == 3)
        await group.start(f.follow, host, START)
        await until(lambda: len(host.heard) == 3)
        host.tap.turn(on=False)
        for total in range(103, 3004, 100):
            f.tell(100)
            await until(lambda total=total: f.at == total)
        assert not f.bus.crowded
        host.tap.turn(on=True)
        await until(lambda: host.numbers[-1:] == [3003])
        assert unbroken(host.numbers)
        assert f.bus.drops() == 0
        group.cancel_scope.cancel()


async def test_a_stream_that_is_behind_when_the_manager_closes_ends_with_the_last_event() -> None:
    async with floor() as f, anyio.create_task_group() as group:
        host = Hearer()
        host.tap.turn(on=False)
        f.tell(100)
        await until(lambda: f.at == 100)
        await group.start(f.follow, host, START)
        f.bus.close()
        host.tap.turn(on=True)
    assert host.numbers == list(range(1, 101))


def test_an_event_without_a_number_is_written_without_one() -> None:
    event: Event = ImagePullProgressed(container_id="", image="i", status="s")
    assert b"seq" not in event_json(event)
