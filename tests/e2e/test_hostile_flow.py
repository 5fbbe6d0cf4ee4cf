"""A flow that does its worst, in a real container: it harms itself alone.

One engine, one service and two flows for the whole table. After every attack a quiet neighbour
has answered all the while, clients were told each bad frame or how many were not told one by one,
and the manager's memory is within its bound.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import psutil
import pytest

from tests.e2e.client import Client
from tests.e2e.conftest import FLOWS
from tests.e2e.service import Service
from tests.e2e.sights import until
from tests.support import hostile_frames
from tests.support.hostile_frames import ATTACKS, LIMIT, MALFORMED, OUTPUTS

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

#: Bytes. Under twice the frame limit for each of the two channels, and for the rest: what clients'
#: requests and events hold, the interpreter's own pools, a library's first use.
BOUND = 2 * 2 * LIMIT + 16 * 1024 * 1024
FLOODS = {
    "valid frames": '{"command":"x"}',
    "malformed frames": "x",
    "replies to nobody": '{"command":"x","reply_to":"nobody"}',
}
RATE = 100_000


class Memory(threading.Thread):
    """Follows how much memory a process has at most."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self.first = self.most = self.now

    @property
    def now(self) -> int:
        return int(self._process.memory_info().rss)

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self.now)

    def stop(self) -> None:
        self._over.set()
        self.join()


class Table:
    """The service, its two flows, and who watches them."""

    def __init__(self, service: Service, client: Client) -> None:
        self.service = service
        self.client = client
        self.hostile = self.neighbour = ""

    async def begin(self) -> None:
        code = str(self.service.root / "code")
        self.neighbour = await self.client.running(code_path=code)
        await self.client.create(code_path=code)
        self.hostile = await self.client.running(
            code_path=code, command=self.service.command("hostile.py")
        )

    def of_hostile(self, name: str, since: int) -> list[dict[str, Any]]:
        """The events about the hostile flow, from some event on."""
        told = self.client.events[since:]
        return [body for what, body in told if what == name and self.hostile in container(body)]

    def faults(self, since: int) -> list[dict[str, Any]]:
        """What clients were told of its channel; a question that came too early failed as well."""
        errors = self.of_hostile("error", since)
        return [body for body in errors if body["details"]["operation"] == "channel"]

    def bad(self, since: int) -> int:
        """How many bad frames clients were told of, one by one or as a number."""
        return sum(
            body["details"].get("suppressed", 0) + (MALFORMED not in body["message"])
            for body in self.faults(since)
        )

    async def attack(self, name: str) -> int:
        """Start an attack; return the number of events before it."""
        since = len(self.client.events)
        answer = await self.client.say(self.hostile, "attack", name)
        assert not answer.get("error"), answer
        return since

    async def answers(self, key: str) -> None:
        """Wait until a flow answers; right after an attack it may still be on its way back."""

        async def asked() -> bool:
            return not (await self.ask(key, "there")).get("error")

        await until(asked)

    async def ask(self, key: str, command: str, data: Any = None) -> dict[str, Any]:
        """Ask a flow something that may take it long."""
        message = {"command": command, "data": data}
        return await self.client.ask(
            "send_message", container_id=key, message=message, reply=True, timeout=60
        )


def container(body: dict[str, Any]) -> str:
    """The container that an event or an error is about."""
    return str(body.get("container_id") or body.get("details", {}).get("container_id"))


@pytest.fixture(scope="module")
def service(
    docker_engine: Any, flow_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("hostile")
    shutil.copytree(FLOWS, root / "code", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(str(hostile_frames.__file__), root / "code")
    with Service(root, "docker", flow_image, docker_engine.url, LOG_LEVEL="INFO") as running:
        yield running


@pytest.fixture(scope="module")
async def table(service: Service) -> AsyncIterator[Table]:
    async with Client(service) as client:
        made = Table(service, client)
        await made.begin()
        yield made


@asynccontextmanager
async def neighbour_answers(table: Table) -> AsyncIterator[list[int]]:
    """Ask the quiet flow again and again; each question must be answered in time."""
    answered: list[int] = []

    async def ask() -> None:
        while True:
            number = len(answered)
            assert await table.client.question(table.neighbour, "echo", number) == number
            answered.append(number)
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        yield answered
        wanted = len(answered) + 1
        with anyio.fail_after(10):
            while len(answered) < wanted:
                await anyio.sleep(0.005)
        group.cancel_scope.cancel()


@asynccontextmanager
async def within_bounds(table: Table) -> AsyncIterator[None]:
    """The flow answers afterwards; the manager lives, its memory is bounded, its log is plain."""
    assert table.service.process is not None
    memory = Memory(table.service.process.pid)
    lines = len(table.service.lines)
    memory.start()
    try:
        yield
        await table.answers(table.hostile)
    finally:
        memory.stop()
    assert table.service.process.poll() is None
    print(f"the manager's memory grew by {(memory.most - memory.first) / 1e6:.1f} MB at most")
    assert memory.most - memory.first < BOUND
    assert all(line.isprintable() for line in table.service.lines[lines:])
    assert not any("Traceback" in line for line in table.service.lines[lines:])


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_a_flow_writes_to_its_channel_harms_itself_alone(
    table: Table, name: str
) -> None:
    attack = ATTACKS[name]
    async with within_bounds(table), neighbour_answers(table):
        since = await table.attack(name)
        await until(lambda: as_told(table, since, name))
    told = table.faults(since)
    assert table.bad(since) == attack.bad
    assert all(body["error_type"] == "socket_error" for body in told)
    # More than five a second, as of the rows before, are told as a number.
    words = (attack.told, MALFORMED)
    assert any(w in body["message"] for body in told for w in words) or not attack.told
    heard = [body["message"]["command"] for body in table.of_hostile("message_received", since)]
    assert tuple(command for command in heard if command != "result") == attack.heard
    assert bool(table.of_hostile("socket_disconnected", since)) == attack.ends


async def as_told(table: Table, since: int, name: str) -> bool:
    attack = ATTACKS[name]
    heard = table.of_hostile("message_received", since)
    ended = table.of_hostile("socket_disconnected", since)
    return (
        table.bad(since) >= attack.bad
        and len(heard) >= len(attack.heard)
        and len(ended) >= attack.ends
    )


@pytest.mark.parametrize("what", FLOODS)
async def test_a_hundred_thousand_frames_a_second_leave_the_neighbour_its_answers(
    table: Table, what: str
) -> None:
    since = len(table.client.events)
    async with within_bounds(table):
        async with neighbour_answers(table) as answered:
            order = {"body": FLOODS[what], "rate": RATE}
            await table.client.say(table.hostile, "flood", order)
            await until(lambda: enough(answered))
        # Its answer stands behind all that it has sent, and nobody else talks now.
        answer = await table.ask(table.hostile, "calm")
    sent = answer["reply"]["data"]["sent"]
    if what == "malformed frames":
        await until(lambda: accounted(table, since, sent))
        assert table.bad(since) == sent


async def enough(answered: list[int]) -> bool:
    return len(answered) >= 5


async def accounted(table: Table, since: int, sent: int) -> bool:
    return table.bad(since) >= sent


async def test_a_flow_that_never_reads_costs_its_senders_a_timeout(table: Table) -> None:
    async with within_bounds(table), neighbour_answers(table):
        await table.attack("never reads")
        answers = [
            await table.client.ask(
                "send_message",
                container_id=table.hostile,
                message={"command": "big", "data": "x" * (LIMIT // 2)},
                timeout=0.05,
            )
            for _ in range(12)
        ]
        refused = [answer for answer in answers if answer.get("error")]
        assert refused
        assert {answer["error_type"] for answer in refused} == {"socket_timeout_error"}


async def test_of_two_connections_the_newest_counts(table: Table) -> None:
    async with within_bounds(table), neighbour_answers(table):
        since = await table.attack("two connections")
        await until(lambda: replaced(table, since))


async def replaced(table: Table, since: int) -> bool:
    ends = table.of_hostile("socket_disconnected", since)
    return any(body["reason"] == "replaced by a newer connection" for body in ends)


async def test_a_thousand_connections_are_told_at_a_bearable_pace(table: Table) -> None:
    assert table.service.process is not None
    manager = psutil.Process(table.service.process.pid)
    descriptors = manager.num_fds()
    async with within_bounds(table), neighbour_answers(table):
        since = await table.attack("a thousand connections")
        await until(lambda: replaced_or_closed(table, since))
    assert len(table.of_hostile("socket_connected", since)) < 200

    async def freed() -> bool:
        return manager.num_fds() <= descriptors + 4

    await until(freed)


async def replaced_or_closed(table: Table, since: int) -> bool:
    return len(table.of_hostile("socket_disconnected", since)) > 1


async def test_a_reply_to_another_flows_question_is_not_taken_for_its_answer(table: Table) -> None:
    question = {"command": "silence", "id": "asked-of-the-neighbour"}
    reply = {"command": "silence", "id": "forged", "reply_to": "asked-of-the-neighbour"}
    answers: list[dict[str, Any]] = []

    async def ask() -> None:
        answers.append(
            await table.client.ask(
                "send_message",
                container_id=table.neighbour,
                message=question,
                reply=True,
                timeout=1,
            )
        )

    async with within_bounds(table), neighbour_answers(table), anyio.create_task_group() as group:
        group.start_soon(ask)
        since = len(table.client.events)
        forged = await table.client.say(table.hostile, "send", reply)
        assert not forged.get("error")
        await until(lambda: heard(table, since, "silence"))
    assert answers[0]["error_type"] == "socket_timeout_error"


async def heard(table: Table, since: int, command: str) -> bool:
    told = table.of_hostile("message_received", since)
    return any(body["message"]["command"] == command for body in told)


@pytest.mark.parametrize("name", OUTPUTS)
async def test_what_a_flow_prints_fills_neither_memory_nor_log(table: Table, name: str) -> None:
    async with within_bounds(table), neighbour_answers(table):
        answer = await table.ask(table.hostile, "print", name)
        assert not answer.get("error"), answer
        logs = await table.client.ask("get_container_logs", container_id=table.hostile, tail=5)
        assert 0 < len(logs["lines"]) <= 5
        assert all(len(line["line"]) <= 64 * 1024 for line in logs["lines"])
