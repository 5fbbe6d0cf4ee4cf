"""The manager is killed within a request that has an id; the next life knows what became of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from anyio import to_thread
from attrs import frozen

from flow_manager_core.settings import Settings
from tests.chaos.manager import Manager
from tests.e2e.client import Client
from tests.e2e.test_failpoints import EDGES, PROGRAM, REACHED, House, Kill

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        "journal" not in attrs.fields_dict(Settings), reason="there is no journal that lasts"
    ),
]

INTENT = "journal.put operations"
CREATE = {"image": "python", "command": ["-c", "import time; time.sleep(99)"], "name": "one"}


@frozen
class Case:
    """A request, the engine's call that it is about, and what its container is then.

    Args:
        places: where the manager is killed whenever the tests are run.
    """

    request: str
    call: str
    status: str | None
    places: tuple[str, ...]


CASES = [
    Case("create_container", "backend.create", "created", ("before the intent", "after the call")),
    Case("stop_container", "backend.stop", "stopped", ("after the intent", "before the outcome")),
    Case("delete_container", "backend.remove", None, ("before the call", "after the outcome")),
]
ALL = [f"{edge} the {step}" for step in ("intent", "call", "outcome") for edge in EDGES]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    points = {"FAILPOINT_PLAN": str(tmp_path / "plan"), "FAILPOINT_TRACE": str(tmp_path / "trace")}
    with Manager(tmp_path, "process", "python", program=PROGRAM, **points) as made:
        yield made


class Life:
    """One request again and again, each time with an id of its own."""

    def __init__(self, manager: Manager, case: Case) -> None:
        self.house = House(manager, manager.root / "plan", manager.root / "trace")
        self._case = case

    async def prepare(self, client: Client) -> dict[str, Any]:
        """Bring about that there is something to do, and say what."""
        for key in await self.house.others():
            await client.ask("delete_container", container_id=key)
        asked = {"request_id": uuid.uuid4().hex}
        if self._case.request == "create_container":
            return {**CREATE, **asked}
        made = await client.ask("create_container", **CREATE, start=True, stop_timeout=1)
        return {"container_id": made["container_id"], **asked}

    async def steps(self) -> list[str]:
        async with self.house.client() as client:
            body = await self.prepare(client)
            self.house.arm(None)
            answer = await client.ask(self._case.request, **body)
            assert not answer.get("error"), answer
            return self.house.disarm()

    async def die(self, kill: Kill) -> None:
        """Let the manager die within the request, start it again, and send the request again."""
        house, manager = self.house, self.house.manager
        async with house.client() as client:
            body = await self.prepare(client)
            house.arm(kill)
            await client.io.emit(self._case.request, body)
            assert await to_thread.run_sync(manager.ended, REACHED), kill
        house.disarm()
        await to_thread.run_sync(manager.start)
        async with house.client() as client:
            await self.judge(client, kill, body)

    async def judge(self, client: Client, kill: Kill, body: dict[str, Any]) -> None:
        told = await client.ask("get_operation", request_id=body["request_id"])
        noted = kill.number > 1 or kill.edge == "after"
        assert bool(told.get("error_type")) is not noted, (kill, told)
        if noted:
            assert told["state"] in ("interrupted", "succeeded"), (kill, told)
        again = await client.ask(self._case.request, **body)
        assert not again.get("error"), (kill, again)
        if told.get("state") == "succeeded":
            assert again == {**told["answer"], "request_id": body["request_id"]}, kill
        assert await self.seen(client) == ([self._case.status] if self._case.status else []), kill
        told = await client.ask("get_operation", request_id=body["request_id"])
        assert (told["state"], told["operation"]) == ("succeeded", self._case.request)

    async def seen(self, client: Client) -> list[str]:
        listed = await client.ask("list_containers")
        return [each["status"] for each in listed["containers"] if each["name"] == "one"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.request)
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.trouble)])
async def test_a_kill_within_a_request_leaves_it_known_and_safe_to_send_again(
    manager: Manager, case: Case, every: bool
) -> None:
    life = Life(manager, case)
    steps = await life.steps()
    assert steps[0] == steps[-1] == INTENT, steps
    numbers = {"intent": 1, "call": steps.index(case.call) + 1, "outcome": len(steps)}
    for place in ALL if every else case.places:
        edge, _, step = place.partition(" the ")
        await life.die(Kill(steps, numbers[step], edge))
