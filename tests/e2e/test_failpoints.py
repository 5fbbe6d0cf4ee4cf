"""The manager is killed before and after each step of each operation, and started again."""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from attrs import frozen

from tests.chaos import outside
from tests.chaos.invariants import connected, disagreements, listing, settles
from tests.chaos.manager import BACKENDS, Manager, manager_on
from tests.e2e.client import Client

pytestmark = [pytest.mark.anyio, pytest.mark.trouble]

FLOW = Path(__file__).parent / "flows" / "flow.py"
PROGRAM = ("-P", str(Path(__file__).parent / "failpoint_service.py"), "serve")

#: Seconds in which the step that is to be the last one is reached.
REACHED = 20.0
EDGES = ("before", "after")
#: The first of these steps writes down what was asked for.
RECORDED = "journal.put containers"


@frozen
class Kill:
    """Where the manager dies.

    Args:
        steps: all steps of the operation, as a run without a kill had them.
        number: counts them from 1.
    """

    steps: Sequence[str]
    number: int
    edge: str

    def __str__(self) -> str:
        step = self.steps[self.number - 1]
        return f"killed {self.edge} step {self.number}, {step}, of {', '.join(self.steps)}"

    @property
    def recorded(self) -> bool:
        """Whether what was asked for was written down."""
        first = self.steps.index(RECORDED) + 1
        return self.number > first or (self.number == first and self.edge == "after")


class House:
    """One instance, with flows that nothing may touch, and a manager that dies on demand."""

    def __init__(self, manager: Manager, plan: Path, trace: Path) -> None:
        self.manager = manager
        self._plan = plan
        self._trace = trace
        self._bystanders: dict[str, int] = {}

    def code(self, version: int) -> str:
        """A folder with a version of the flow, and a file that only this version has."""
        folder = self.manager.root / f"code-{version}"
        if not folder.exists():
            folder.mkdir()
            text = FLOW.read_text().replace("VERSION = 1", f"VERSION = {version}")
            (folder / "flow.py").write_text(text)
            (folder / marker(version)).write_text("here")
        return str(folder)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with Client(self.manager) as client:
            yield client
            client._made.clear()

    async def settle_in(self) -> None:
        """Make the flows that nothing may touch."""
        async with self.client() as client:
            keys = [await client.running(code_path=self.code(1)) for _ in range(2)]
        seen = await to_thread.run_sync(outside.containers, self.manager)
        self._bystanders = {key: seen[key].pid for key in keys}

    def arm(self, kill: Kill | None) -> None:
        """Begin to count; without a kill nothing but that."""
        body = {"step": kill.number, "edge": kill.edge} if kill else {"step": 0, "edge": ""}
        self._trace.unlink(missing_ok=True)
        fresh = self._plan.with_suffix(".new")
        fresh.write_text(json.dumps({**body, "run": uuid.uuid4().hex}))
        fresh.rename(self._plan)

    def disarm(self) -> list[str]:
        """Count no more; return the names of the steps."""
        self._plan.unlink()
        return [line.partition(" ")[2] for line in self._trace.read_text().splitlines()]

    async def sound(self, client: Client) -> None:
        """Wait until the manager's word, the engine and the files are at one."""

        async def check() -> list[str]:
            seen = await to_thread.run_sync(outside.containers, self.manager)
            touched = [
                f"the flow {key} was touched: {seen.get(key)} had the pid {pid}"
                for key, pid in self._bystanders.items()
                if key not in seen or seen[key].pid != pid
            ]
            return [*touched, *await disagreements(self.manager, client)]

        await settles(check)

    async def others(self) -> dict[str, outside.Seen]:
        """The containers that are there besides."""
        seen = await to_thread.run_sync(outside.containers, self.manager)
        return {key: one for key, one in seen.items() if key not in self._bystanders}


def marker(version: int) -> str:
    return f"only-in-{version}.txt"


async def version_of(client: Client, key: str) -> int:
    """Ask a flow what it is; it is wholly one version or the test fails."""
    await connected(client, key)
    info = await client.question(key, "info")
    version: int = info["version"]
    assert info["files"] == sorted(["flow.py", marker(version)]), info["files"]
    return version


class Operation(ABC):
    """An operation whose every step is a place to die."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.key = ""

    async def prepare(self, client: Client) -> None:
        """Have a running flow that talks."""
        if self.key not in await self.house.others():
            self.key = await client.running(code_path=self.house.code(1))
        if (await listing(client))[self.key]["status"] != "running":
            await client.ask("start_container", container_id=self.key)
        await connected(client, self.key)

    @abstractmethod
    def request(self) -> tuple[str, dict[str, Any]]:
        """What the client asks for."""

    @abstractmethod
    async def judge(self, client: Client, kill: Kill) -> None:
        """Check what became of it."""

    async def finish(self, client: Client) -> None:
        """Leave nothing to the next test."""
        for key in await self.house.others():
            assert not (await client.ask("delete_container", container_id=key)).get("error")


class Create(Operation):
    async def prepare(self, client: Client) -> None:
        await self.finish(client)
        self._payload = {
            "image": self.house.manager.image,
            "command": self.house.manager.command("flow.py"),
            "code_path": self.house.code(1),
            "start": True,
            "stop_timeout": 2,
            "request_id": uuid.uuid4().hex,
        }

    def request(self) -> tuple[str, dict[str, Any]]:
        return "create_container", self._payload

    async def judge(self, client: Client, kill: Kill) -> None:
        if kill.edge == "after":
            await self.house.sound(client)
        before = await self.house.others()
        answer = await client.ask("create_container", **self._payload)
        assert not answer.get("error"), answer
        key = answer["container_id"]
        assert await version_of(client, key) == 1
        await self.house.sound(client)
        there = await self.house.others()
        assert list(there) == [key], f"made twice: {there}"
        if kill.edge == "after" and before:
            assert list(before) == [key], f"the made one was not the answer: {before}"


class Update(Operation):
    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        self._old = await version_of(client, self.key)
        self._new = 3 - self._old

    def request(self) -> tuple[str, dict[str, Any]]:
        payload = {"container_id": self.key, "code_path": self.house.code(self._new)}
        return "update_container", payload

    async def judge(self, client: Client, kill: Kill) -> None:
        await self.house.sound(client)
        found = await version_of(client, self.key)
        if not kill.recorded:
            assert found == self._old


class Delete(Operation):
    def request(self) -> tuple[str, dict[str, Any]]:
        return "delete_container", {"container_id": self.key}

    async def judge(self, client: Client, kill: Kill) -> None:
        async def check() -> list[str]:
            there = self.key in await self.house.others()
            return [f"{self.key} is still there"] if kill.recorded and there else []

        await settles(check)
        await self.house.sound(client)
        if not kill.recorded:
            assert await version_of(client, self.key) == 1


class Restart(Operation):
    def request(self) -> tuple[str, dict[str, Any]]:
        return "restart_container", {"container_id": self.key}

    async def judge(self, client: Client, kill: Kill) -> None:
        assert await version_of(client, self.key) == 1
        await self.house.sound(client)


class Stop(Operation):
    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        self._pid = (await self.house.others())[self.key].pid

    def request(self) -> tuple[str, dict[str, Any]]:
        return "stop_container", {"container_id": self.key}

    async def judge(self, client: Client, kill: Kill) -> None:
        async def check() -> list[str]:
            entry = (await listing(client))[self.key]
            return [f"not stopped: {entry}"] if entry["status"] != "stopped" else []

        if kill.recorded:
            await settles(check)
        await self.house.sound(client)
        if not kill.recorded:
            assert (await self.house.others())[self.key].pid == self._pid


OPERATIONS = {kind.__name__.lower(): kind for kind in (Create, Update, Delete, Restart, Stop)}


@pytest.fixture(params=BACKENDS)
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A manager with an instance of its own."""
    points = {"FAILPOINT_PLAN": str(tmp_path / "plan"), "FAILPOINT_TRACE": str(tmp_path / "trace")}
    with manager_on(request, tmp_path, program=PROGRAM, **points) as made:
        yield made


@pytest.fixture
async def house(manager: Manager) -> House:
    """Its flows that nothing may touch."""
    made = House(manager, manager.root / "plan", manager.root / "trace")
    await made.settle_in()
    return made


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_kill_at_any_step_leaves_nothing_half_done(house: House, name: str) -> None:
    operation = OPERATIONS[name](house)
    steps = await steps_of(operation)
    for number in range(1, len(steps) + 1):
        for edge in EDGES:
            kill = Kill(steps, number, edge)
            try:
                await die(operation, kill)
            except BaseException as error:
                error.add_note(f"{kill}; the manager's log:\n{house.manager.tail()}")
                raise
    async with house.client() as client:
        await operation.finish(client)
        await house.sound(client)


async def steps_of(operation: Operation) -> list[str]:
    """Carry an operation out, and see which steps it has."""
    house = operation.house
    async with house.client() as client:
        await operation.prepare(client)
        house.arm(None)
        name, payload = operation.request()
        answer = await client.ask(name, **payload)
        assert not answer.get("error"), answer
        await house.sound(client)
        steps = house.disarm()
    assert RECORDED in steps
    print(f"{type(operation).__name__}: {', '.join(steps)}")
    return steps


async def die(operation: Operation, kill: Kill) -> None:
    """Let the manager die at a step, start it again, and look."""
    house, manager = operation.house, operation.house.manager
    async with house.client() as client:
        await operation.prepare(client)
        house.arm(kill)
        await client.io.emit(*operation.request())
        reached = await to_thread.run_sync(manager.ended, REACHED)
        if not reached:  # nothing is lost: this place, too, is one to die at
            await to_thread.run_sync(manager.kill)
    house.disarm()
    await to_thread.run_sync(manager.start)
    async with house.client() as client:
        await operation.judge(client, kill)
        assert client.told("container_crashed") == []
    assert reached, "the step was not reached"
