"""What was asked is written down before it is done, and is not done twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from flow_manager_core import house as house_module
from flow_manager_core.aftermath import cut_off
from flow_manager_core.booked import Booked, OperationState
from flow_manager_core.errors import (
    ContainerNotFound,
    EngineError,
    FlowManagerError,
    InvalidRequest,
    SystemFault,
)
from flow_manager_core.events import ActivityLogged
from flow_manager_core.journals import Change, Put, Table
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.models import Answer, Client, Role
from flow_manager_core.services import Services
from flow_manager_core.settings import RecordsKind
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine
from flow_manager_core.testing.memory_transport import MemoryNetwork
from tests.core.test_manager import House, hold, house

pytestmark = pytest.mark.anyio

CANARY = "a-secret-that-nobody-may-read"


class Paper(MemoryJournal):
    """Tells what the book gets, and refuses when it is told to.

    Args:
        seen: gets a line for each entry of the book.
    """

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen
        #: How many entries of the book it still takes; the rest needs its reserve.
        self.room: float = float("inf")
        self.reserve = False

    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        booked = [c for c in changes if isinstance(c, Put) and c.table is Table.OPERATIONS]
        if booked and self.room <= 0 and not (urgent and self.reserve):
            raise SystemFault("The disk is full", retryable=True)
        self.room -= bool(booked)
        await super().commit(changes, urgent=urgent)
        self._seen += [f"book: {Booked.read(put.value).state}" for put in booked]


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def paper(seen: list[str], monkeypatch: pytest.MonkeyPatch) -> Paper:
    """The journal of every manager of the test, one life after another."""
    made = Paper(seen)
    monkeypatch.setattr(house_module, "MemoryJournal", lambda: made)
    return made


def services(h: House) -> Services:
    found = h.manager._services
    assert found is not None
    return found


def watch(h: House, seen: list[str], *methods: str) -> None:
    """Tell of calls of the engine, too."""
    backend: Any = services(h).backend

    def told(name: str) -> Any:
        method = getattr(backend, name)

        async def call(*args: Any) -> Any:
            seen.append(f"engine: {name}")
            return await method(*args)

        return call

    for name in methods:
        setattr(backend, name, told(name))


@pytest.fixture
async def h(paper: Paper) -> AsyncIterator[House]:
    async with house() as found:
        yield found


async def ask(h: House, by: str, request: str, /, *, role: Role = Role.ADMIN, **body: Any) -> Answer:
    return await h.manager.session(Client("test", "1", by, role)).answer(request, body)


async def operation(h: House, request_id: str) -> dict[str, Any]:
    return await h.ask("get_operation", request_id=request_id)


async def refused(h: House, request: str, /, **body: Any) -> FlowManagerError:
    with pytest.raises(FlowManagerError) as caught:
        await h.ask(request, **body)
    return caught.value


def is_about_the_id(error: FlowManagerError) -> bool:
    return isinstance(error, InvalidRequest) and [f.field for f in error.faults] == ["request_id"]


async def test_the_intent_is_kept_before_the_engine_is_asked_and_the_outcome_before_the_answer(
    h: House, seen: list[str]
) -> None:
    key = await h.create("run")
    watch(h, seen, "stop")
    await h.ask("stop_container", container_id=key, request_id="r1")
    seen.append("answer")
    assert seen == ["book: running", "engine: stop", "book: succeeded", "answer"]


async def test_a_request_that_is_sent_again_gets_the_same_answer_and_is_not_done_again(
    h: House, seen: list[str]
) -> None:
    key = await h.create("run")
    watch(h, seen, "stop", "start")
    first = await h.ask("restart_container", container_id=key, request_id="r1")
    assert await h.ask("restart_container", container_id=key, request_id="r1") == first
    assert seen.count("engine: start") == seen.count("engine: stop") == 1
    told = await operation(h, "r1")
    assert (told["state"], told["attempts"], told["answer"]["status"]) == ("succeeded", 1, "running")
    assert told["container_id"] == key
    assert told["asked_at"] <= told["ended_at"]


async def test_a_create_sent_again_answers_with_its_container_even_if_the_name_is_drawn(
    h: House,
) -> None:
    body = {"image": "memory", "command": ["run"], "request_id": "r1"}
    made = await h.ask("create_container", **body)
    assert await h.ask("create_container", **body) == made
    assert (await h.ask("list_containers"))["count"] == 1


async def test_a_delete_sent_again_is_answered_although_the_container_is_gone(h: House) -> None:
    key = await h.create("run")
    gone = await h.ask("delete_container", container_id=key, request_id="r1")
    assert await h.ask("delete_container", container_id=key, request_id="r1") == gone
    with pytest.raises(ContainerNotFound):
        await h.ask("delete_container", container_id=key, request_id="r2")


async def test_a_request_sent_again_while_it_is_under_way_waits_for_the_same_outcome(
    h: House, seen: list[str]
) -> None:
    watch(h, seen, "create")
    answers: list[Any] = []
    body = {"image": "memory", "command": ["run"], "request_id": "r1", "start": True}

    async def create() -> None:
        answers.append(await h.ask("create_container", **body))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(create)
    assert answers == [answers[0]] * 3
    assert seen.count("engine: create") == 1

    h.engine.faults["stop"] = EngineError("No")
    failures: list[FlowManagerError] = []

    async def stop() -> None:
        key = answers[0]["container_id"]
        failures.append(await refused(h, "stop_container", container_id=key, request_id="r2"))

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(stop)
    assert [error.message for error in failures] == ["No", "No"]
    assert (await operation(h, "r2"))["attempts"] == 1


async def test_what_failed_is_tried_again_by_the_same_request(h: House) -> None:
    key = await h.create("run")
    h.engine.faults["stop"] = EngineError("The engine will not")
    await refused(h, "stop_container", container_id=key, request_id="r1")
    told = await operation(h, "r1")
    assert (told["state"], told["error"]["message"]) == ("failed", "The engine will not")
    assert told["error"]["details"]["request_id"] == "r1"
    del h.engine.faults["stop"]
    done = await h.ask("stop_container", container_id=key, request_id="r1")
    assert done["status"] == "stopped"
    told = await operation(h, "r1")
    assert (told["state"], told["attempts"], told["error"]) == ("succeeded", 2, None)


async def test_a_create_that_failed_is_made_by_the_same_request(h: House) -> None:
    body = {"image": "memory", "command": ["run"], "name": "one", "request_id": "r1"}
    h.engine.faults["create"] = EngineError("The engine will not")
    await refused(h, "create_container", **body)
    del h.engine.faults["create"]
    assert (await h.ask("create_container", **body))["name"] == "one"


async def test_an_id_stands_for_one_request_alone(h: House) -> None:
    key = await h.create("run")
    await h.ask("stop_container", container_id=key, request_id="r1")
    for request, body in (
        ("stop_container", {"container_id": key, "timeout": 1}),
        ("start_container", {"container_id": key}),
        ("create_container", {"image": "memory"}),
        ("delete_container", {"container_id": "nobody"}),
    ):
        assert is_about_the_id(await refused(h, request, **body, request_id="r1")), request
    assert (await h.ask("list_containers"))["count"] == 1


async def test_an_id_that_is_under_way_is_refused_to_another_request(h: House) -> None:
    key = await h.create("stubborn")
    async with anyio.create_task_group() as group:
        group.start_soon(
            lambda: h.ask("stop_container", container_id=key, timeout=0.3, request_id="r1")
        )
        await anyio.wait_all_tasks_blocked()
        error = await refused(h, "stop_container", container_id=key, timeout=0.2, request_id="r1")
        assert is_about_the_id(error)


async def test_requests_that_change_nothing_may_use_an_id_again(h: House) -> None:
    key = await h.create("run")
    await h.ask("stop_container", container_id=key, request_id="r1")
    for _ in range(2):
        assert (await h.ask("list_containers", request_id="r1"))["count"] == 1
    assert (await h.ask("get_container_status", container_id=key, request_id="r1"))["name"]


async def test_ids_are_each_users_own(h: House) -> None:
    body = {"image": "memory", "command": ["run"], "request_id": "r1"}
    keys = {(await ask(h, by, "create_container", **body)).body["container_id"] for by in "ab"}
    assert len(keys) == 2
    own = (await ask(h, "a", "get_operation", request_id="r1", role=Role.READ)).body
    assert own["by"] == "a"
    other = await ask(h, "a", "get_operation", request_id="r1", by="b", role=Role.OPERATE)
    assert other.body["details"]["required_role"] == "admin"
    seen = (await ask(h, "c", "get_operation", request_id="r1", by="b")).body
    assert seen["container_id"] in keys - {own["container_id"]}
    nobody = (await ask(h, "c", "get_operation", request_id="r1")).body
    assert nobody["error_type"] == "validation_error"


async def test_a_journal_that_refuses_the_intent_refuses_the_request(
    h: House, paper: Paper, seen: list[str]
) -> None:
    key = await h.create("run")
    watch(h, seen, "stop", "start", "create", "remove")
    paper.room = 0
    for request, body in (
        ("create_container", {"image": "memory"}),
        ("restart_container", {"container_id": key}),
        ("stop_container", {"container_id": key}),
        ("delete_container", {"container_id": key}),
    ):
        error = await refused(h, request, **body, request_id=request)
        assert (error.error_type, error.message) == ("system_error", "The disk is full")
    assert seen == []
    paper.reserve = True
    await h.ask("stop_container", container_id=key, request_id="stop_container")
    await h.ask("delete_container", container_id=key, request_id="delete_container")
    assert isinstance(await refused(h, "create_container", image="memory", request_id="c"), SystemFault)
    paper.room = 9
    assert (await h.ask("create_container", image="memory", request_id="create_container"))["name"]


async def test_an_outcome_that_cannot_be_kept_is_answered_and_kept_as_soon_as_it_can_be(
    h: House, paper: Paper, seen: list[str]
) -> None:
    key = await h.create("run")
    watch(h, seen, "start", "stop")
    paper.room = 1
    done = await h.ask("restart_container", container_id=key, request_id="r1")
    assert seen == ["book: running", "engine: stop", "engine: start"]
    assert (await operation(h, "r1"))["state"] == "succeeded"
    assert await h.ask("restart_container", container_id=key, request_id="r1") == done
    paper.room = 9
    await h.ask("stop_container", container_id=key, request_id="r2")
    entries = [Booked.read(value) for _, value in await paper.read(Table.OPERATIONS)]
    assert {e.request_id: e.state for e in entries} == {"r1": "succeeded", "r2": "succeeded"}
    assert seen.count("engine: start") == 1


async def test_the_book_holds_no_secret(h: House, paper: Paper) -> None:
    body = {"image": "memory", "command": ["run"], "request_id": "r1"}
    await h.ask("create_container", **body, environment={"TOKEN": CANARY}, labels={"a": CANARY})
    h.engine.faults["create"] = EngineError("No")
    await refused(h, "create_container", **{**body, "request_id": "r2"}, environment={"T": CANARY})
    rows = await paper.read(Table.OPERATIONS)
    assert len(rows) == 2
    assert not [value for _, value in rows if CANARY.encode() in value]


async def test_the_feed_says_who_did_what_and_what_came_of_it(h: House) -> None:
    key = await h.create("run", name="one")
    h.engine.faults["stop"] = EngineError("The engine will not")
    await ask(h, "ada", "stop_container", container_id=key)
    del h.engine.faults["stop"]
    await ask(h, "bob", "stop_container", container_id="one", request_id="r1")
    await ask(h, "cyd", "stop_container", container_id="nobody")

    def told() -> list[ActivityLogged]:
        return [event for event in h.told if isinstance(event, ActivityLogged)]

    await h.until(lambda: any("asked_for" in line.details for line in told()))
    lines = told()
    failed, missed = (line for line in lines if line.details.get("outcome") == "failed")
    (done,) = (line for line in lines if line.activity_type == "container_stopped")
    assert failed.activity_type == missed.activity_type == "container_error"
    assert failed.container_id.startswith(key)
    assert failed.details == {
        "operation": "stop_container",
        "error_type": "docker_api_error",
        "outcome": "failed",
        "by": "ada",
    }
    assert done.details == {"outcome": "succeeded", "by": "bob", "request_id": "r1"}
    assert (missed.container_id, missed.details["asked_for"]) == ("", "nobody")


class World:
    """One engine, one journal and one folder; managers that are cut off."""

    def __init__(self, engine: MemoryEngine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        (folder / "code").mkdir()
        (folder / "code" / "main").write_text("new")

    @property
    def code(self) -> str:
        return str(self._folder / "code")

    @asynccontextmanager
    async def life(self) -> AsyncIterator[House]:
        async with house(
            self._engine,
            MemoryNetwork(),
            records=RecordsKind.FILE,
            state_dir=self._folder / "state",
            volume_roots=(self._folder,),
            shutdown_timeout=0.01,
            retry_for=0.0,
        ) as found:
            yield found

    async def cut_off(
        self, h: House, method: str, edge: str, request: str, /, **body: Any
    ) -> None:
        """Let the manager end before or after a call of the engine."""
        backend: Any = services(h).backend
        call = getattr(backend, method)
        reached = anyio.Event()

        async def halted(*args: Any) -> Any:
            if edge == "after":
                await call(*args)
            reached.set()
            await anyio.sleep_forever()

        setattr(backend, method, halted)

        async def send() -> None:
            with pytest.raises(FlowManagerError):
                await h.ask(request, **body, request_id="r1")

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            with anyio.fail_after(10):
                await reached.wait()
            await h.manager._executor.close(0.0)  # type: ignore[union-attr]
        delattr(backend, method)


@pytest.fixture
async def world(paper: Paper, tmp_path: Path) -> AsyncIterator[World]:
    async with anyio.create_task_group() as group:
        yield World(await group.start(hold, SCRIPTED), tmp_path)
        group.cancel_scope.cancel()


async def settled(h: House) -> Mapping[str, Any]:
    with anyio.fail_after(10):
        while services(h).book.open:
            await anyio.sleep(0.005)
    return await operation(h, "r1")


@pytest.mark.parametrize("edge", ["before", "after"])
@pytest.mark.parametrize(
    ("request_name", "method", "status"),
    [
        ("stop_container", "stop", "stopped"),
        ("restart_container", "start", "running"),
        ("delete_container", "remove", "deleted"),
    ],
)
async def test_what_was_cut_off_and_came_about_all_the_same_is_said_to_have_succeeded(
    world: World, request_name: str, method: str, status: str, edge: str
) -> None:
    async with world.life() as h:
        key = await h.create("run")
        await world.cut_off(h, method, edge, request_name, container_id=key)
    async with world.life() as h:
        told = await settled(h)
        assert told["state"] == "succeeded"
        assert told["answer"] == {"container_id": key, "status": status}
        again = await h.ask(request_name, container_id=key, request_id="r1")
        assert again == {**told["answer"], "request_id": "r1"}


async def test_a_create_that_was_cut_off_is_made_by_the_same_request(world: World) -> None:
    body = {"image": "memory", "command": ["run"], "name": "one"}
    async with world.life() as h:
        await world.cut_off(h, "create", "before", "create_container", **body)
    async with world.life() as h:
        told = await operation(h, "r1")
        assert (told["state"], told["answer"]) == ("interrupted", None)
        assert "same request_id" in told["error"]["details"]["hint"]
        made = await h.ask("create_container", **body, request_id="r1")
        told = await operation(h, "r1")
        assert (told["attempts"], told["container_id"]) == (2, made["container_id"])


async def test_an_outcome_that_was_not_kept_before_the_end_is_found_by_the_next_life(
    world: World, paper: Paper
) -> None:
    body = {"image": "memory", "command": ["run"], "name": "one"}
    async with world.life() as h:
        paper.room = 1
        made = await h.ask("create_container", **body, request_id="r1")
        paper.room = 9
    async with world.life() as h:
        told = await settled(h)
        assert (told["state"], told["answer"]["container_id"]) == ("succeeded", made["container_id"])


async def test_the_ledger_says_whether_a_container_has_the_code_of_an_update(
    world: World, paper: Paper
) -> None:
    async with world.life() as h:
        key = await h.create("run", code_path=world.code)
        paper.room = 1
        body = {"container_id": key, "code_path": world.code}
        done = await h.ask("update_container", **body, request_id="r1")
        paper.room = 9
    async with world.life() as h:
        assert (await settled(h))["answer"] == {k: done[k] for k in done if k != "request_id"}
    # The same once more, but somebody else has changed the code since.
    (value,) = (value for _, value in await paper.read(Table.OPERATIONS))
    async with world.life() as h:
        await h.ask("update_container", **body)
        await paper.commit([evolve(Booked.read(value), state=OperationState.RUNNING).put])
        await services(h).book.recall(cut_off)
        assert (await settled(h))["state"] == "interrupted"
