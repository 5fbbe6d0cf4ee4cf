"""Durable messages through real processes: a flow, then the manager, is killed at its work."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from anyio import to_thread

from flow_manager_core.settings import Settings
from tests.e2e.client import PATIENCE, Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio

FLOW = Path(__file__).parent / "flows" / "durable.py"
#: Messages each way: more than a window.
COUNT = 150


@pytest.fixture(scope="module")
def service(tmp_path_factory: Any) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("durable")
    with Service(root, "process", "python", "", LOG_LEVEL="INFO") as running:
        yield running


class Program:
    """The flow, what it is to say and what it has done."""

    def __init__(self, service: Service, folder: Path, slow: float) -> None:
        self.code = service.root / folder.name
        self.code.mkdir()
        shutil.copy(FLOW, self.code / "flow.py")
        self.done, self.say = folder / "done", folder / "say"
        self.say.write_text("".join(f"{json.dumps({'n': n})}\n" for n in range(COUNT)))
        self.environment = {"DONE": str(self.done), "SAY": str(self.say), "SLOW": str(slow)}

    def did(self) -> list[Any]:
        """The data of the messages that were done, in order."""
        if not self.done.exists():
            return []
        lines = self.done.read_text().splitlines()
        return [json.loads(line.split(" ", 2)[2]) for line in lines]

    async def until_done(self, count: int) -> None:
        with anyio.fail_after(PATIENCE):
            while len(self.did()) < count:
                await anyio.sleep(0.01)

    def create(self) -> dict[str, Any]:
        return {
            "code_path": str(self.code),
            "environment": self.environment,
            "restart": {"policy": "on-crash"},
        }


async def send(client: Client, key: str, number: int) -> dict[str, Any]:
    answer = await client.ask(
        "send_message",
        container_id=key,
        message={"command": "do", "data": number},
        delivery="durable",
        request_id=f"{key}-{number}",
    )
    assert answer["status"] == "accepted", answer
    return answer


async def send_all(client: Client, key: str, numbers: range) -> None:
    for number in numbers:
        await send(client, key, number)


def heard(*clients: Client) -> list[int]:
    """What the flow said durably, as clients were told, each number once."""
    bodies = [body for c in clients for name, body in c.events if name == "message_received"]
    return [body["message"]["data"]["n"] for body in bodies if body["message"]["command"] == "said"]


async def until_heard(client: Client, number: int) -> None:
    with anyio.fail_after(PATIENCE):
        while not heard(client) or heard(client)[-1] < number:
            await anyio.sleep(0.01)


def pid_of(service: Service, program: Program) -> int:
    """The flow's process: it has the name of its file of done work in its environment."""
    wanted = f"DONE={program.done}".encode()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError("the flow does not run")


async def test_a_flow_that_is_killed_in_mid_window_misses_nothing_and_does_nothing_twice(
    service: Service, client: Client, tmp_path: Path
) -> None:
    program = Program(service, tmp_path, slow=0.002)
    key = await client.create(**program.create())
    await send_all(client, key, range(COUNT))
    await client.ask("start_container", container_id=key)
    for done in (10, 80):
        await program.until_done(done)
        os.kill(pid_of(service, program), signal.SIGKILL)
        await client.event("socket_disconnected", container_id=key)
    await program.until_done(COUNT)
    await until_heard(client, COUNT - 1)
    assert program.did() == list(range(COUNT))
    assert heard(client) == list(range(COUNT))
    with anyio.fail_after(PATIENCE):
        while len(client.told("message_delivered")) < COUNT:
            await anyio.sleep(0.01)
    assert len(client.told("message_delivered")) == COUNT


@pytest.mark.skipif(
    "journal" not in attrs.fields_dict(Settings),
    reason="needs a journal that outlives the manager: the setting `journal`",
)
async def test_a_manager_that_is_killed_loses_nothing_that_it_accepted_or_acknowledged(
    service: Service, tmp_path: Path
) -> None:
    program = Program(service, tmp_path, slow=0.002)
    half = COUNT // 2
    async with Client(service) as first:
        key = await first.create(**program.create(), start=True)
        await send_all(first, key, range(half))
        await program.until_done(10)
        await to_thread.run_sync(service.stop, signal.SIGKILL)
        first._made.clear()
    await to_thread.run_sync(service.start)
    async with Client(service) as second:
        await send_all(second, key, range(COUNT))  # a client that heard no answer sends it again
        await program.until_done(COUNT)
        with anyio.fail_after(PATIENCE):
            while (await undelivered(second, key)) > 0:
                await anyio.sleep(0.05)
        told = heard(first) + heard(second)
        assert told == sorted(set(told)), "told twice or out of order"
        await second.ask("delete_container", container_id=key)
    assert program.did() == list(range(COUNT))


async def undelivered(client: Client, key: str) -> int:
    """How many of the messages to a container were not acknowledged, as their senders ask."""
    answers = [await send(client, key, number) for number in (0, COUNT - 1)]
    found = [await client.ask("get_message", message_id=each["message_id"]) for each in answers]
    return sum(each["status"] != "delivered" for each in found)
