"""What was asked is written down before it is done, and is not done twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from flow_manager_core.booked import Booked
from flow_manager_core.errors import (
    ContainerNotFound,
    EngineError,
    FlowManagerError,
    InvalidRequest,
    SystemFault,
)
from flow_manager_core.events import ActivityLogged
from flow_manager_core.journals import Table
from flow_manager_core.models import Answer, Client, Role
from tests.core.paper import Paper, laid_under_all, operation, services
from tests.core.test_manager import House, house

pytestmark = pytest.mark.anyio

CANARY = "a-secret-that-nobody-may-read"


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def paper(seen: list[str], monkeypatch: pytest.MonkeyPatch) -> Paper:
    return laid_under_all(seen, monkeypatch)


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


async def ask(
    h: House, by: str, request: str, /, *, role: Role = Role.ADMIN, **body: Any
) -> Answer:
    return await h.manager.session(Client("test", "1", by, role)).answer(request, body)


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
    assert (told["state"], told["attempts"], told["answer"]["status"]) == (
        "succeeded",
        1,
        "running",
    )
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
    assert (told["state"], told["failure"]["message"]) == ("failed", "The engine will not")
    assert told["failure"]["details"]["request_id"] == "r1"
    del h.engine.faults["stop"]
    done = await h.ask("stop_container", container_id=key, request_id="r1")
    assert done["status"] == "stopped"
    told = await operation(h, "r1")
    assert (told["state"], told["attempts"], told["failure"]) == ("succeeded", 2, None)


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
    body: dict[str, Any] = {"image": "memory", "command": ["run"], "request_id": "r1"}
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
    assert isinstance(
        await refused(h, "create_container", image="memory", request_id="c"), SystemFault
    )
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
