"""Clients that come back with where they stand: by both transports, in a crowd, slow ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import orjson
import pytest

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.contracts import Selection
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.events import Event, StatusChanged
from flow_manager_core.framing import encode_frame
from flow_manager_core.log import get_log
from flow_manager_core.models import Client, ContainerState, Message
from flow_manager_core.selection import EVERYTHING, Identity
from flow_manager_core.testing.memory_backend import (
    SCRIPTED,
    MemoryEngine,
    MemoryFlow,
    memory_provider,
)
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider
from flow_manager_socketio import plugin
from flow_manager_socketio.access import Access
from flow_manager_socketio.relay import Relay
from flow_manager_socketio.rooms import ClientFeed, Rooms
from flow_manager_socketio.settings import SocketIOSettings

pytestmark = pytest.mark.anyio
TOKEN = "a token of some length"
CROWD = 50


class Speaker:
    """A manager with one flow, which says as much as it is told to."""

    def __init__(self, manager: FlowManager, url: str) -> None:
        self.manager = manager
        self.url = url
        self.say, self._said = anyio.create_memory_object_stream[object](1000)

    async def flow(self, flow: MemoryFlow, network: MemoryNetwork) -> None:
        async with await network.connect(flow.environment) as stream:
            async for data in self._said:
                await stream.send(encode_frame(Message("said", data), 1_000_000))

    async def says(self, *data: object) -> int:
        """Have things said; give the number of the last event once all are told."""
        async with self.manager.subscribe() as events:
            for one in data:
                await self.say.send(one)
            left = len(data)
            with anyio.fail_after(20):
                while left:
                    left -= (await anext(events)).name == "message_received"
        return self.manager.position.seq

    def close(self) -> None:
        self.say.close()
        self._said.close()


@asynccontextmanager
async def speaking(**own: Any) -> AsyncIterator[Speaker]:
    network = MemoryNetwork()
    speakers: list[Speaker] = []

    async def program(flow: MemoryFlow) -> None:
        await speakers[0].flow(flow, network)

    programs = {**SCRIPTED, "speaker": program}
    with TemporaryDirectory() as folder:
        async with MemoryEngine(programs).opened() as engine:
            settings = Settings(token=TOKEN, port=0, state_dir=Path(folder))
            async with managed(settings, own, network, engine) as manager:
                speakers.append(Speaker(manager, manager.addresses[0]))
                speaker = {"image": "speaker", "name": "speaker", "start": True}
                await manager.execute("create_container", speaker)
                yield speakers[0]
                speakers[0].close()


def managed(
    settings: Settings, own: dict[str, Any], network: MemoryNetwork, engine: MemoryEngine
) -> FlowManager:
    """A manager of the speaker's."""
    return FlowManager(
        settings,
        host=PluginHost(installed=False),
        provider_settings={"socketio": SocketIOSettings(**own)},
        backend=memory_provider(engine),
        transport=memory_transport_provider(network),
        frontends=plugin.flow_manager_frontends(),
    )


def numbers(person: Any) -> list[int]:
    """The numbers of the events that a person has heard."""
    own = ("connected", "subscribed", "snapshot")
    return [b["seq"] for name, b in person.heard if name not in own and b and b.get("seq")]


def auth(epoch: str, seq: int) -> dict[str, Any]:
    return {"token": TOKEN, "since": {"epoch": epoch, "seq": seq}}


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_client_that_comes_back_again_and_again_has_the_whole_log(
    meeting: Any, transport: str
) -> None:
    async with speaking() as speaker:
        told: list[int] = []
        at = None
        for visit in range(4):
            await speaker.says(*range(30))
            given = auth(*at) if at else None
            async with meeting(speaker, auth=given, transports=[transport]) as person:
                greeting = await person.hears("connected")
                at = at or (greeting["epoch"], greeting["seq"])
                assert (greeting["epoch"], greeting["seq"]) == at
                async with anyio.create_task_group() as group:
                    group.start_soon(speaker.says, *range(100))
                    group.start_soon(speaker.says, *range(50))
                # It leaves in the middle, but for the last time.
                enough = 170 if visit == 3 else 20
                await person.until(lambda p=person, n=enough: len(numbers(p)) >= n)
                told += (heard := numbers(person))
                at = (at[0], heard[-1])
        assert told == list(range(told[0], told[0] + len(told)))


async def test_a_crowd_that_comes_back_at_once_misses_nothing(meeting: Any) -> None:
    async with speaking() as speaker, AsyncExitStack() as stack:
        await speaker.says(*range(100))
        epoch = speaker.manager.position.epoch
        people: list[Any] = []

        async def come(seq: int) -> None:
            client = meeting(speaker, auth=auth(epoch, seq), wait_timeout=20)
            people.append(await stack.enter_async_context(client))

        async with anyio.create_task_group() as group:
            group.start_soon(speaker.says, *range(100))
            for number in range(CROWD):
                group.start_soon(come, 2 * number)
        last = await speaker.says("at last")
        with anyio.fail_after(30):
            while not all(numbers(person)[-1:] == [last] for person in people):
                await anyio.sleep(0.02)
        begun = sorted(numbers(person)[0] for person in people)
        assert begun == [2 * number + 1 for number in range(CROWD)]
        for person in people:
            heard = numbers(person)
            assert heard == list(range(heard[0], last + 1))


async def test_who_joins_while_the_relay_is_behind_hears_what_came_when_nobody_listened() -> None:
    passed: list[tuple[int, list[str]]] = []
    missed: list[Event] = []
    tap = anyio.Event()

    async def emit(_name: str, body: orjson.Fragment, _rooms: object) -> None:
        passed.append((json.loads(orjson.dumps(body)).get("seq", 0), sorted(inside)))
        await tap.wait()

    async def outlet(event: Event) -> None:
        missed.append(event)

    inside: set[str] = set()
    async with speaking() as speaker, anyio.create_task_group() as group:
        manager, start = speaker.manager, speaker.manager.position
        rooms = Rooms(
            manager.selects, lambda sid, _: inside.add(sid), lambda sid, _: inside.discard(sid)
        )
        relay = Relay(manager, emit, rooms, get_log("test"))
        await group.start(relay.run)
        rooms.enter("gone", EVERYTHING)
        await speaker.says(*range(3))
        rooms.leave("gone")
        await speaker.says(*range(4))
        client = ClientFeed("client", rooms, lambda: relay.at)
        manager.session(Client("socketio", "client"), outlet, client).listen(EVERYTHING, start)
        with anyio.fail_after(5):
            while "client" not in inside:
                await anyio.sleep(0.001)
            tap.set()
            last = await speaker.says("last")
            while max(passed)[0] < last:
                await anyio.sleep(0.001)
        heard = [event.seq for event in missed] + [n for n, who in passed if n and "client" in who]
        assert heard == list(range(start.seq + 1, last + 1))
        group.cancel_scope.cancel()


async def test_a_client_that_reads_slowly_is_given_it_all_and_is_not_dropped(raw: Any) -> None:
    size, count = 50_000, 150
    async with speaking(client_queue_bytes=20 * size) as speaker:
        last = await speaker.says(*["x" * size] * count)
        epoch = speaker.manager.position.epoch
        client = raw(speaker)
        await client.open_websocket()
        await client.enter(auth(epoch, 0))
        last = await speaker.says(*["y" * size] * 20)
        heard = []
        while heard[-1:] != [last]:
            packet = await client.receive()
            assert packet is not None
            if packet.startswith("42"):
                heard.append(json.loads(packet[2:])[1].get("seq"))
            else:
                await client.send("3")
        assert heard == list(range(1, last + 1))


async def test_a_position_of_another_journal_is_a_gap_and_a_snapshot(meeting: Any) -> None:
    async with speaking() as speaker, meeting(speaker, auth=auth("another", 7)) as person:
        snapshot = await person.hears("snapshot")
        assert person.names()[:3] == ["connected", "gap", "snapshot"]
        [status] = snapshot["containers"]
        assert (status["name"], status["state"]) == ("speaker", "running")
        last = await speaker.says("on")
        await person.until(lambda: numbers(person)[-1:] == [last])
        assert (
            (await person.hears("gap"))["to"]
            == snapshot["seq"]
            == last - len([n for n in numbers(person) if n > snapshot["seq"]])
        )


async def test_the_clients_of_one_event_get_it_once_whatever_they_chose(meeting: Any) -> None:
    choices: list[dict[str, Any]] = [
        {},
        {"events": ["message_received", "status_changed"]},
        {"containers": ["speaker"]},
        {"containers": ["speaker", "spea", "other"], "events": ["message_received"]},
        {"labels": {}, "containers": ["speaker"], "events": ["message_received", "activity_log"]},
    ]
    others = [{"containers": ["other"]}, {"labels": {"a": "b"}}, {"events": []}]
    async with speaking() as speaker, AsyncExitStack() as stack:
        none = {"token": TOKEN, "events": []}
        people = [
            await stack.enter_async_context(meeting(speaker, auth=none))
            for _ in (*choices, *others)
        ]
        for person, choice in zip(people, (*choices, *others), strict=True):
            answer = await person.ask("subscribe", choice)
            assert answer["seq"] <= speaker.manager.position.seq
        await speaker.says(*range(20))
        for person in people:
            await person.ask("list_containers", {})
        for number, person in enumerate(people):
            data = [body["message"]["data"] for body in person.bodies("message_received")]
            assert data == (list(range(20)) if number < len(choices) else [])


@pytest.mark.parametrize(
    ("since", "field"),
    [
        (7, "auth.since"),
        ({"epoch": "e"}, "auth.since"),
        ({"epoch": "e", "seq": 1, "more": 1}, "auth.since"),
        ({"epoch": "", "seq": 1}, "auth.since.epoch"),
        ({"epoch": "e", "seq": True}, "auth.since.seq"),
        ({"epoch": "e", "seq": -1}, "auth.since.seq"),
        ({"epoch": "e", "seq": 2**60}, "auth.since.seq"),
    ],
)
def test_a_position_that_is_none_is_refused_by_name(since: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Access(Settings(token=TOKEN)).admit({"token": TOKEN, "since": since})
    assert [fault["field"] for fault in refused.value.details["errors"]] == [field]


def test_rooms_of_a_choice_last_as_long_as_somebody_has_it() -> None:
    members: Counter[tuple[str, str]] = Counter()
    looked = 0

    def selects(selection: Selection, event: Any) -> bool:
        nonlocal looked
        looked += 1
        return selection.fits(Identity.of(event.container_id, "flow", {"team": "x"}))

    rooms = Rooms(
        selects,
        lambda sid, room: members.update([(sid, room)]),
        lambda sid, room: members.subtract([(sid, room)]),
    )
    changed = StatusChanged(
        container_id="c" * 64, old_state=ContainerState.CREATED, new_state=ContainerState.RUNNING
    )
    choices = {
        "all": EVERYTHING,
        "kind": Selection(events=frozenset({"status_changed"})),
        "team": Selection(labels=frozenset({("team", "x")})),
        "both": Selection(containers=("flow",), events=frozenset({"status_changed", "gap"})),
        "none": Selection(containers=("other",)),
    }
    assert len(rooms.of(changed)) == 2
    for sid, selection in choices.items():
        rooms.enter(sid, EVERYTHING)
        rooms.enter(sid, selection)
    for _ in range(3):
        went = rooms.of(changed)
        got = {sid: sum(members[sid, room] for room in went) for sid in choices}
        assert got == {"all": 1, "kind": 1, "team": 1, "both": 1, "none": 0}
    assert looked == 3  # once for each choice, not for each event
    for sid in choices:
        rooms.leave(sid)
        rooms.leave(sid)
    assert not +members
    assert len(rooms.of(changed)) == 2
