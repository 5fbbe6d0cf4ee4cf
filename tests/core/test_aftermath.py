"""A later life says what came of what an earlier one was cut off in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from flow_manager_core.aftermath import cut_off
from flow_manager_core.booked import Booked, OperationState
from flow_manager_core.convergence import Converger
from flow_manager_core.errors import FlowManagerError, InvalidRequest
from flow_manager_core.journals import DropThrough, Table
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine
from flow_manager_core.testing.memory_transport import MemoryNetwork
from tests.core.paper import Paper, laid_under_all, operation, services
from tests.core.test_manager import House, hold, house

pytestmark = pytest.mark.anyio


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    return laid_under_all([], monkeypatch)


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
            journal="memory",
            state_dir=self._folder / "state",
            volume_roots=(self._folder,),
            shutdown_timeout=0.01,
            retry_for=0.0,
        ) as found:
            yield found

    async def cut_off(self, h: House, method: str, edge: str, request: str, /, **body: Any) -> None:
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


@pytest.mark.parametrize("busy", [True, False], ids=["being finished", "not begun"])
async def test_a_delete_that_is_asked_for_again_before_it_is_finished_has_its_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    async with world.life() as h:
        key = await h.create("stubborn", stop_timeout=0.5)
        await world.cut_off(h, "stop", "before", "delete_container", container_id=key)
    if not busy:
        monkeypatch.setattr(Converger, "consider", lambda *_: None)
    async with world.life() as h:
        (record,) = services(h).registry
        with anyio.fail_after(5):
            while busy and not record.lock.locked():
                await anyio.sleep(0.001)
        again = await h.ask("delete_container", container_id=key, request_id="r1")
        assert again == {"container_id": key, "status": "deleted", "request_id": "r1"}
        assert (await operation(h, "r1"))["state"] == "succeeded"


async def test_a_create_that_was_cut_off_is_made_by_the_same_request(world: World) -> None:
    body = {"image": "memory", "command": ["run"], "name": "one"}
    async with world.life() as h:
        await world.cut_off(h, "create", "before", "create_container", **body)
    async with world.life() as h:
        told = await operation(h, "r1")
        assert (told["state"], told["answer"]) == ("interrupted", None)
        assert "same request_id" in told["failure"]["details"]["hint"]
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
        assert (told["state"], told["answer"]["container_id"]) == (
            "succeeded",
            made["container_id"],
        )


async def test_without_the_book_a_containers_label_says_which_request_made_it(
    world: World, paper: Paper
) -> None:
    body = {"image": "memory", "command": ["run"], "name": "one", "request_id": "r1"}
    async with world.life() as h:
        made = await h.ask("create_container", **body)
    await paper.commit([DropThrough(Table.OPERATIONS, "~")])
    async with world.life() as h:
        with pytest.raises(InvalidRequest, match="request_id"):
            await h.ask("create_container", **body, start=True)
        assert (await h.ask("create_container", **body))["container_id"] == made["container_id"]
        with pytest.raises(InvalidRequest, match="request_id"):
            await h.ask("create_container", **body, start=True)


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
