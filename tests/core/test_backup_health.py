"""Health checks and healing leave a container alone that is being backed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import pytest

from flow_manager_core.models import CommandOutcome
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine
from tests.core.test_backups import Held, House, housed

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
CHECK = {"check_type": "command", "command": ["ask"], "interval": 0.02, "retries": 1}
WATCHED = {"restart": {"policy": "unhealthy", "first_delay": 0.01}, "health_check": CHECK}


class Asked(Held):
    """Counts the checks, and answers as it is told to."""

    def __init__(self, engine: MemoryEngine) -> None:
        super().__init__(engine)
        self.code = 0
        self.checks: Counter[str] = Counter()
        self.answers = anyio.Event()
        self.answers.set()

    async def run_command(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> CommandOutcome:
        self.checks[self._box("run_command", container_id).seen.name] += 1
        await self.answers.wait()
        return CommandOutcome(self.code, "")


@pytest.fixture
async def backend() -> AsyncIterator[Asked]:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        yield Asked(engine)


@pytest.fixture
async def house(backend: Asked, tmp_path: Any) -> AsyncIterator[House]:
    async with housed(backend.engine, tmp_path, backend) as made:
        yield made


async def until(check: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not check():
            await anyio.sleep(0.005)


async def status(house: House) -> dict[str, Any]:
    return await house.ask("get_container_status", container_id="flow")


async def until_ended(house: House) -> None:
    with anyio.fail_after(PATIENCE):
        while (await status(house))["state"] == "running":
            await anyio.sleep(0.005)


async def results(house: House) -> list[dict[str, Any]]:
    told = await house.ask("get_health_status_history", container_id="flow")
    return list(told["history"])


async def test_a_program_that_is_halted_for_a_backup_is_not_asked(
    house: House, backend: Asked
) -> None:
    await house.flow("flow", "run", **WATCHED)
    await house.flow("other", "run", **WATCHED)
    async with anyio.create_task_group() as group:

        async def back_up() -> None:
            await house.ask("backup_container", container_id="flow", path="one.tar")

        group.start_soon(back_up)
        await backend.reached.wait()
        seen, clock = backend.checks["flow"], backend.checks["other"]
        await until(lambda: backend.checks["other"] >= clock + 10)
        # One may have been on its way when the program was halted.
        assert backend.checks["flow"] <= seen + 1
        backend.go.set()
    await until(lambda: backend.checks["flow"] > seen + 1)


async def test_an_answer_that_came_while_the_program_was_halted_does_not_count(
    house: House, backend: Asked
) -> None:
    backend.answers = anyio.Event()
    await house.flow("flow", "run", **WATCHED)
    await until(lambda: backend.checks["flow"] > 0)
    async with anyio.create_task_group() as group:

        async def back_up() -> None:
            await house.ask("backup_container", container_id="flow", path="one.tar")

        group.start_soon(back_up)
        await backend.reached.wait()
        backend.code = 1
        backend.answers.set()
        await anyio.wait_all_tasks_blocked()
        backend.code = 0
        backend.go.set()
    await until(lambda: backend.checks["flow"] > 2)
    assert {one["health"] for one in await results(house)} == {"healthy"}
    assert (await status(house))["restarts"] == 0


async def test_an_unhealthy_container_is_ended_for_its_health_after_its_backup_and_not_before(
    house: House, backend: Asked
) -> None:
    await house.flow("flow", "run", **WATCHED)
    (run,) = {box.seen.started_at for box in backend.engine.boxes["default"].values()}
    async with anyio.create_task_group() as group:

        async def back_up() -> None:
            await house.ask("backup_container", container_id="flow", path="one.tar", pause=False)

        group.start_soon(back_up)
        await backend.reached.wait()
        backend.code, seen = 1, backend.checks["flow"]
        await until(lambda: backend.checks["flow"] >= seen + 5)
        assert (await status(house))["health"] == "unhealthy"
        assert {b.seen.started_at for b in backend.engine.boxes["default"].values()} == {run}
        backend.go.set()
    assert house.files() == ["one.tar"]
    await until_ended(house)
