"""The past is read back whole, in order, and a page at a time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from flow_manager_core import event_walk, history
from flow_manager_core.errors import ContainerNotFound, InvalidRequest
from flow_manager_core.events import ActivityLogged, Event, MessageReceived, StatusChanged
from flow_manager_core.history import History, Wanted
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import DropThrough, Put, Table, number_key
from flow_manager_core.jsontext import dumps
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.models import ContainerState
from flow_manager_core.wire import event_body
from tests.core.test_manager import House, house

pytestmark = pytest.mark.anyio

RED, BLUE = "ab" * 32, "ad" * 32
KINDS = ("container_started", "container_stopped", "message_received")
START = 1_000_000_000


def event(number: int, chance: random.Random) -> Event:
    """The event of a number, told in the second of that number."""
    about: dict[str, Any] = {
        "container_id": chance.choice((RED, BLUE)),
        "timestamp": datetime.fromtimestamp(START + number, UTC),
        "seq": number,
    }
    if chance.random() < 0.3:
        state = ContainerState.RUNNING
        return StatusChanged(old_state=state, new_state=state, **about)
    # What a program says must not pass for what happened.
    said = f'"name":"activity_log" {RED} "activity_type":"container_started"'
    kind = chance.choice(KINDS)
    if kind == "message_received":
        return MessageReceived(message={"command": said, "data": None}, **about)
    return ActivityLogged(activity_type=kind, message=said, details={"said": said}, **about)


def kind_of(told: Event) -> str | None:
    """The type of activity that an event is, or whose line it stands for."""
    if isinstance(told, MessageReceived):
        return "message_received"
    return told.activity_type if isinstance(told, ActivityLogged) else None


def page_of(events: Sequence[Event]) -> Put:
    """A page as `event_log` says that it stands in the journal."""
    lines = [
        dumps(
            {
                "seq": each.seq,
                "name": each.name,
                "container": each.container_id,
                "at": each.timestamp.timestamp(),
                "body": event_body(each),
            }
        )
        for each in events
    ]
    return Put(Table.EVENTS, number_key(events[-1].seq), b"\n".join(lines))


class Past:
    """A log of events in pages of all sizes, of which the oldest are kept no longer."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.journal = MemoryJournal()
        self.events: list[Event] = []

    async def write(self, count: int, pruned: int) -> History:
        number = 1
        ends = []
        while number <= count:
            last = min(number + self.chance.choice((0, 0, 1, 3, 17)), count)
            page = [event(each, self.chance) for each in range(number, last + 1)]
            await self.journal.commit([page_of(page)])
            self.events += page
            ends.append(last)
            number = last + 1
        end = max((each for each in ends if each <= pruned), default=0)
        await self.journal.commit([DropThrough(Table.EVENTS, number_key(end))])
        self.events = self.events[end:]
        return History(JournalWriter(self.journal, lambda _: None, epoch="e", last=count))

    def expected(self, wanted: Wanted) -> list[int]:
        found = [
            each.seq
            for each in self.events
            if kind_of(each) is not None
            and each.container_id.startswith(wanted.container)
            and (not wanted.kinds or kind_of(each) in wanted.kinds)
            and (wanted.since is None or each.timestamp >= wanted.since)
            and (wanted.until is None or each.timestamp <= wanted.until)
        ]
        return found[::-1] if wanted.newest_first else found


def some_wish(chance: random.Random, count: int) -> Wanted:
    """A question at random."""
    moments = [datetime.fromtimestamp(START + chance.randint(-3, count + 3), UTC) for _ in "12"]
    return Wanted(
        container=chance.choice(("", RED, BLUE[:12])),
        kinds=frozenset(chance.sample(KINDS, chance.randint(0, 2))),
        since=chance.choice((None, min(moments))),
        until=chance.choice((None, max(moments))),
        newest_first=chance.random() < 0.5,
    )


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_is_asked_for_comes_once_and_in_order_page_after_page(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_walk, "WINDOW", 7)
    monkeypatch.setattr(event_walk, "PAGES", 2)
    monkeypatch.setattr(event_walk, "SPAN", 40)
    monkeypatch.setattr(history, "QUICK", 2000)
    past = Past(seed)
    chance = past.chance
    count = chance.choice((0, 1, 60, 150))
    found = await past.write(count, pruned=chance.choice((0, count // 3)))
    for _ in range(25):
        wanted, offset = some_wish(chance, count), chance.choice((0, 0, 5, 70))
        limit = chance.choice((1, 3, 1000))
        page = await found.page(wanted, limit, offset)
        told = [each.seq for each in page.events]
        while page.next is not None:
            page = await found.page(wanted, limit, cursor=page.next)
            assert len(page.events) <= limit
            told += [each.seq for each in page.events]
        assert told == past.expected(wanted)[offset:], (seed, wanted, limit, offset)


async def test_one_answer_is_bounded_however_long_its_lines_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "ANSWER_SIZE", 2000)
    past = Past(1)
    found = await past.write(50, 0)
    page = await found.page(Wanted(), 1000)
    assert 0 < sum(each.size for each in page.events) <= 2000
    assert page.next is not None


@pytest.fixture
async def h() -> AsyncIterator[House]:
    async with house() as found:
        yield found


async def told(h: House, **query: Any) -> Sequence[Mapping[str, Any]]:
    """All that is told, whatever the size of a page."""
    answer = await h.ask("get_activity_log", limit=2, **query)
    entries = list(answer["entries"])
    query.pop("offset", None)
    while answer["next"] is not None:
        answer = await h.ask("get_activity_log", limit=2, cursor=answer["next"], **query)
        entries += answer["entries"]
    return entries


def kinds(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return [entry["activity_type"] for entry in entries]


LIFE = ["container_created", "container_started", "container_stopped", "container_deleted"]


async def a_life(h: House, name: str) -> str:
    key = await h.create("run", name=name)
    for request in ("stop_container", "delete_container"):
        await h.ask(request, container_id=key)
    return key


@pytest.mark.parametrize("ref", ["full", "short", "name"])
async def test_the_history_of_a_container_is_there_when_it_is_not(h: House, ref: str) -> None:
    other = await h.create("run", name="other")
    key = await h.create("run", name="one")
    full = h.manager._services.registry.find(key).id  # type: ignore[union-attr]
    refs = {"full": full, "short": key, "name": "one"}
    alive = [kind for kind in kinds(await told(h, container_id=refs[ref])) if kind in LIFE]
    assert alive == LIFE[:2]
    for request in ("stop_container", "delete_container"):
        await h.ask(request, container_id=key)
    entries = await told(h, container_id=refs[ref])
    assert [kind for kind in kinds(entries) if kind in LIFE] == LIFE
    assert {entry["container_id"] for entry in entries} == {key} != {other}


async def test_a_name_stands_for_the_container_that_last_had_it(h: House) -> None:
    await a_life(h, "one")
    second = await a_life(h, "one")
    assert {entry["container_id"] for entry in await told(h, container_id="one")} == {second}
    with pytest.raises(ContainerNotFound):
        await told(h, container_id="nobody")
    assert await told(h, container_id="0" * 12) == []


async def test_entries_carry_what_the_event_did(h: House) -> None:
    await a_life(h, "one")
    entries = await told(h)
    live = {e.seq: h.manager.event_body(e) for e in h.told if isinstance(e, ActivityLogged)}
    assert [entry["seq"] for entry in entries] == sorted(live)
    for entry in entries:
        body = {**live[entry["seq"]]}
        del body["epoch"]
        assert entry == body


async def test_history_is_filtered_by_kind_and_time_and_read_from_either_end(h: House) -> None:
    for name in ("one", "two"):
        await a_life(h, name)
    entries = await told(h)
    assert await told(h, newest_first=True) == entries[::-1]
    assert await told(h, offset=3) == entries[3:]
    started = await told(h, kinds=["container_started", "container_deleted"])
    assert set(kinds(started)) == {"container_started", "container_deleted"}
    assert len(started) == 4
    moment = entries[4]["timestamp"]
    assert [e for e in entries if e["timestamp"] > moment] == [
        e for e in await told(h, since=moment) if e["timestamp"] > moment
    ]
    assert [e for e in entries if e["timestamp"] < moment] == [
        e for e in await told(h, until=moment) if e["timestamp"] < moment
    ]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"kinds": ["container_started", "x", "y"]}, ["kinds.1", "kinds.2"]),
        ({"limit": 0}, ["limit"]),
        ({"limit": 1001}, ["limit"]),
        ({"offset": -1}, ["offset"]),
        ({"since": "yesterday"}, ["since"]),
        ({"cursor": "1/2/3"}, ["cursor"]),
        ({"cursor": "1/0", "offset": 1}, ["offset"]),
        ({"newest_first": 1}, ["newest_first"]),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_with_all_its_faults(
    h: House, query: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await h.ask("get_activity_log", **query)
    assert [fault.field for fault in caught.value.faults] == fields


@pytest.mark.parametrize("cursor", ["0/0", "999999999999999999/0", "1/999999999"])
@pytest.mark.parametrize("newest_first", [True, False])
async def test_any_cursor_ends(h: House, cursor: str, newest_first: bool) -> None:
    await a_life(h, "one")
    answer = await h.ask("get_activity_log", cursor=cursor, newest_first=newest_first)
    assert answer["next"] is None


async def test_a_clock_that_was_put_back_leaves_every_event_to_be_found_by_its_number() -> None:
    past = Past(3)
    found = await past.write(30, 0)
    late = [evolve(e, timestamp=datetime.fromtimestamp(START - 3600, UTC)) for e in past.events[9:]]
    await past.journal.commit([DropThrough(Table.EVENTS, number_key(30)), page_of(late)])
    page = await found.page(Wanted(), 1000)
    assert [e.seq for e in page.events] == [e.seq for e in late if kind_of(e)]
