"""Crash loops: many of them hold nobody up, and whoever takes one in hand wins over it."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio

#: Flows that crash at once, again and again.
LOOPS = {"process": 50, "docker": 12}
#: Requests of each kind that are timed.
REQUESTS = 40
#: Milliseconds: what another flow may cost beside the loops, at the median.
BOUND = 250.0
#: By which the loops may slow it, and the least that this is taken of: a few milliseconds more
#: are no slowdown that anybody notices.
FACTOR = 10.0
LEAST = 5.0
#: Seconds that a restart waits in the tests of who wins.
WAIT = 1.0

LOOPING = {
    "policy": "on-crash",
    "max_attempts": 100_000,
    "first_delay": 0.5,
    "factor": 1,
    "jitter": 0.5,
}
WAITING = {"policy": "on-crash", "max_attempts": 3, "first_delay": WAIT, "factor": 1, "jitter": 0}


@pytest.fixture
def broken_code(service: Service) -> Iterator[Path]:
    """A folder whose flow crashes at once."""
    folder = service.root / "broken"
    folder.mkdir()
    (folder / "flow.py").write_text("raise SystemExit(3)")
    yield folder
    shutil.rmtree(folder)


@asynccontextmanager
async def watching(service: Service) -> AsyncIterator[Client]:
    """A second client, so that the first one's books stay short."""
    async with Client(service) as client:
        yield client


async def timed(client: Client, request: str, **payload: Any) -> float:
    """Send a request; return the milliseconds to its answer."""
    begun = anyio.current_time()
    answer = await client.io.call(request, payload, timeout=60)
    assert not answer.get("error"), answer
    return (anyio.current_time() - begun) * 1000


async def medians(client: Client, container_id: str) -> dict[str, float]:
    """Time requests about a container, and questions to its flow."""
    found: dict[str, list[float]] = {"status": [], "message": []}
    question = {"message": {"command": "echo", "data": 1}, "reply": True}
    for _ in range(REQUESTS):
        found["status"].append(
            await timed(client, "get_container_status", container_id=container_id)
        )
        found["message"].append(
            await timed(client, "send_message", container_id=container_id, **question)
        )
        await anyio.sleep(0.02)
    return {what: statistics.median(times) for what, times in found.items()}


@pytest.mark.alone
async def test_many_crash_loops_do_not_slow_the_others(
    client: Client, service: Service, code: Path
) -> None:
    sound = await client.running(code_path=str(code), name="sound")
    quiet = await medians(client, sound)
    async with watching(service) as crowd:
        loops = await crash_loops(crowd, LOOPS[service.backend])
        mark = len(crowd.events)
        loaded = await medians(client, sound)
        went_on = {b["container_id"] for n, b in crowd.events[mark:] if n == "container_crashed"}
    assert went_on <= loops
    assert len(went_on) > len(loops) / 4, "the loops went on meanwhile"
    for what, median in loaded.items():
        assert median < BOUND, (quiet, loaded)
        assert median < FACTOR * max(quiet[what], LEAST), (quiet, loaded)
    assert client.moves(sound) == [("created", "running")]


async def crash_loops(client: Client, count: int) -> set[str]:
    """Start flows that crash; return their ids once each has crashed and been restarted."""
    service, loops = client.service, set()
    for number in range(count):
        loops.add(
            await client.create(
                name=f"loop-{number}",
                command=service.command("-c", "raise SystemExit(3)"),
                restart=LOOPING,
                start=True,
            )
        )
    for loop in loops:
        await client.event("container_recovered", container_id=loop)
    return loops


async def crashed(client: Client, code: Path, name: str) -> str:
    """A flow that has just crashed and waits for its restart."""
    key = await client.running(code_path=str(code), name=name, restart=WAITING)
    await crash(client, key)
    return key


async def crash(client: Client, key: str, attempt: int = 1) -> None:
    mark = len(client.events)
    await client.say(key, "exit", 3)
    scheduled = await client.event("recovery_scheduled", since=mark, container_id=key)
    assert scheduled["attempt"] == attempt
    assert scheduled["delay"] == WAIT


async def its_time_has_passed(client: Client, bystander: str) -> None:
    """Wait until a restart that was scheduled later than the one in question was carried out."""
    await crash(client, bystander)
    await client.event("container_recovered", container_id=bystander)


def attempts(client: Client, key: str, since: int) -> list[str]:
    """What was told of a container's recovery."""
    kinds = ("recovery_scheduled", "container_recovered", "recovery_gave_up")
    told = client.events[since:]
    return [name for name, body in told if name in kinds and body["container_id"] == key]


async def test_a_stop_during_the_wait_wins(client: Client, code: Path) -> None:
    bystander = await client.running(code_path=str(code), name="bystander", restart=WAITING)
    key = await crashed(client, code, "stopped")
    mark = len(client.events)
    answer = await client.ask("stop_container", container_id=key)
    assert answer["status"] == "stopped"
    await its_time_has_passed(client, bystander)
    status = await client.ask("get_container_status", container_id=key)
    assert status["state"] in ("stopped", "exited")
    assert status["restarts"] == 0
    assert attempts(client, key, mark) == []
    assert "running" not in [new for _, new in client.moves(key)[1:]]


async def test_a_delete_during_the_wait_wins(client: Client, code: Path) -> None:
    bystander = await client.running(code_path=str(code), name="bystander", restart=WAITING)
    key = await crashed(client, code, "deleted")
    mark = len(client.events)
    await client.ask("delete_container", container_id=key)
    client._made.remove(key)
    await its_time_has_passed(client, bystander)
    assert attempts(client, key, mark) == []
    assert "running" not in [new for _, new in client.moves(key)[1:]]
    answer = await client.ask("get_container_status", container_id=key)
    assert answer["error_type"] == "container_not_found"


async def test_a_start_during_the_wait_wins_and_forgets_the_crash(
    client: Client, code: Path
) -> None:
    bystander = await client.running(code_path=str(code), name="bystander", restart=WAITING)
    key = await crashed(client, code, "started")
    mark = len(client.events)
    await client.ask("start_container", container_id=key)
    await client.event("socket_connected", since=mark, container_id=key)
    await its_time_has_passed(client, bystander)
    assert attempts(client, key, mark) == []
    assert client.moves(key)[-1] == ("exited", "running")
    await crash(client, key, attempt=1)


async def test_an_update_ends_a_crash_loop_and_resets_the_counter(
    client: Client, code: Path, broken_code: Path
) -> None:
    key = await client.create(
        code_path=str(broken_code),
        name="updated",
        start=True,
        restart={"policy": "on-crash", "max_attempts": 100, "first_delay": 0.2, "jitter": 0},
    )
    await client.event("recovery_scheduled", container_id=key, attempt=3)
    mark = len(client.events)
    answer = await client.ask("update_container", container_id=key, code_path=str(code))
    assert not answer.get("error"), answer
    await client.event("socket_connected", since=mark, container_id=key)
    assert (await client.question(key, "info"))["version"] == 1
    mark = len(client.events)
    await client.say(key, "exit", 3)
    scheduled = await client.event("recovery_scheduled", since=mark, container_id=key)
    assert (scheduled["attempt"], scheduled["delay"]) == (1, 0.2)
