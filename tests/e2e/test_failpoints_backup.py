"""The manager is killed after steps of a backup and of a restore, and started again.

On the process backend alone: its kills cost a second or two, and the steps are the core's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.invariants import settles
from tests.chaos.manager import Manager, manager_on
from tests.e2e.client import Client
from tests.e2e.test_failpoints import (
    PROGRAM,
    House,
    Kill,
    Operation,
    die,
    steps_of,
    version_of,
)

pytestmark = [pytest.mark.anyio, pytest.mark.trouble]

ARCHIVE = "flow.tar"


class Backup(Operation):
    """What a later life finds: a halted program, a draft."""

    last_steps = ("backend.freeze", "backend.save", "backend.thaw")

    def request(self) -> tuple[str, dict[str, Any]]:
        payload = {"container_id": self.key, "path": ARCHIVE, "overwrite": True}
        return "backup_container", payload

    async def judge(self, client: Client, kill: Kill) -> None:
        await self.house.sound(client)
        assert await version_of(client, self.key) == 1
        folder = self.house.manager.state_dir / "backups"

        async def check() -> list[str]:
            return [f"left behind: {path}" for path in folder.glob(".*")]

        await settles(check)


class Restore(Operation):
    """What a later life finds: an image, a container without its files, or a whole one."""

    last_steps = ("backend.ground", "backend.create", "backend.fill", "backend.start")

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        for key in await self._made():
            await client.ask("delete_container", container_id=key)
        payload = {"container_id": self.key, "path": ARCHIVE, "overwrite": True}
        answer = await client.ask("backup_container", **payload)
        assert not answer.get("error"), answer

    def request(self) -> tuple[str, dict[str, Any]]:
        return "restore_container", {"path": ARCHIVE, "name": "again", "start": True}

    async def judge(self, client: Client, kill: Kill) -> None:
        await self.house.sound(client)
        whole = kill.steps[kill.number - 1] == "backend.start"
        made = await self._made()
        assert len(made) == whole
        for key in made:
            assert await version_of(client, key) == 1

    async def _made(self) -> list[str]:
        return [key for key in await self.house.others() if key != self.key]


@pytest.fixture
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    points = {"FAILPOINT_PLAN": str(tmp_path / "plan"), "FAILPOINT_TRACE": str(tmp_path / "trace")}
    request.param = "process"
    with manager_on(request, tmp_path, program=PROGRAM, **points) as made:
        yield made


@pytest.fixture
async def house(manager: Manager) -> House:
    made = House(manager, manager.root / "plan", manager.root / "trace")
    await made.settle_in()
    return made


@pytest.mark.parametrize("kind", [Backup, Restore])
async def test_a_kill_leaves_no_halted_flow_no_draft_and_no_half_container(
    house: House, kind: Any
) -> None:
    operation = kind(house)
    steps = await steps_of(operation)
    for name in operation.last_steps:
        kill = Kill(steps, steps.index(name) + 1, "after")
        try:
            await die(operation, kill)
        except BaseException as error:
            error.add_note(f"{kill}; the manager's log:\n{house.manager.tail()}")
            raise
    async with house.client() as client:
        await operation.finish(client)
        await house.sound(client)
