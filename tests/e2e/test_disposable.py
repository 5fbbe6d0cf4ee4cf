"""The manager is disposable: killed, frozen, doubled or asked to go, flows and truth stay."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.chaos import outside
from tests.chaos.invariants import connected, disagreements, listing, settles
from tests.chaos.manager import BACKENDS, SERVE, Manager, manager_on
from tests.e2e.client import Client

pytestmark = [pytest.mark.anyio, pytest.mark.trouble]

FLOWS = Path(__file__).parent / "flows"

#: Seconds after the start in which the first flow answers.
FIRST_ANSWER = 2.0
#: Seconds that the manager is frozen for: more than one comparison with the engine.
FROZEN = 7.0

#: Hears SIGTERM and runs on.
DEAF = "import signal, time; signal.signal(15, lambda *_: None); print('deaf', flush=True)\n"
DEAF += "while True: time.sleep(60)"

#: Restarts after a second each, so that there is time to die while one waits.
PATIENT: dict[str, Any] = {
    "policy": "on-crash",
    "first_delay": 2,
    "factor": 1,
    "jitter": 0,
    "max_attempts": 5,
}


@pytest.fixture(params=BACKENDS)
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    with manager_on(request, tmp_path) as made:
        yield made


@pytest.fixture(params=BACKENDS)
def stopping_manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    with manager_on(request, tmp_path, FLOW_MANAGER_ON_EXIT="stop") as made:
        yield made


@asynccontextmanager
async def client_of(manager: Manager) -> AsyncIterator[Client]:
    """A client that leaves its containers to the manager's next life."""
    async with Client(manager) as client:
        yield client
        client._made.clear()


def code_of(manager: Manager) -> str:
    folder = manager.root / "code"
    if not folder.exists():
        shutil.copytree(FLOWS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return str(folder)


async def pids(manager: Manager) -> dict[str, int]:
    """The running flows' process ids, from outside."""
    seen = await to_thread.run_sync(outside.containers, manager)
    return {key: one.pid for key, one in seen.items() if one.pid}


async def again(manager: Manager) -> list[str]:
    """Start once more; return the log of that life alone."""
    manager.lines.clear()
    await to_thread.run_sync(manager.start)
    return manager.lines


async def state_of(client: Client, key: str) -> dict[str, Any]:
    return await client.ask("get_container_status", container_id=key)


async def reaches(client: Client, key: str, **wanted: Any) -> None:
    """Wait until a container's status is as wanted."""

    async def check() -> list[str]:
        status = await state_of(client, key)
        found = {name: status.get(name) for name in wanted}
        return [] if found == wanted else [f"{key}: {found}, not {wanted}"]

    await settles(check)


async def sound(manager: Manager, client: Client) -> None:
    async def check() -> list[str]:
        return await disagreements(manager, client)

    await settles(check)


def crashes(client: Client, key: str) -> list[dict[str, Any]]:
    """The crashes of a container that a client was told of."""
    told = [body for name, body in client.events if name == "container_crashed"]
    return [body for body in told if body["container_id"] == key]


async def crash(client: Client, key: str, code: int) -> None:
    """Let a flow end with an exit code, and wait until that is told."""
    before = len(crashes(client, key))
    await client.say(key, "exit", code)

    async def check() -> list[str]:
        return [] if len(crashes(client, key)) > before else ["the crash was not told"]

    await settles(check)


async def test_a_kill_touches_no_running_flow(manager: Manager) -> None:
    async with client_of(manager) as client:
        keys = [await client.running(code_path=code_of(manager)) for _ in range(3)]
    before = await pids(manager)
    assert set(before) == set(keys)
    await to_thread.run_sync(manager.kill)
    log = await again(manager)
    async with client_of(manager) as client:
        with anyio.fail_after(FIRST_ANSWER * 3):
            while True:
                message = {"command": "echo", "data": 1}
                answer = await client.ask(
                    "send_message", container_id=keys[0], message=message, reply=True, timeout=1
                )
                if not answer.get("error"):
                    break
        took = time.monotonic() - manager.listening_at
        print(f"the first flow answered {took * 1000:.0f} ms after the manager listened again")
        assert took < FIRST_ANSWER
        for key in keys:
            await connected(client, key)
            assert any(
                "Socket connected" in line and key in line and "reconnected=true" in line
                for line in log
            ), f"{key} did not come back to its channel"
        await sound(manager, client)
        assert await pids(manager) == before
        assert client.told("container_crashed", "container_recovered") == []


async def test_a_restart_that_was_waiting_is_made_by_the_next_life(manager: Manager) -> None:
    async with client_of(manager) as client:
        key = await client.running(code_path=code_of(manager), restart=PATIENT)
        await crash(client, key, 3)
        await client.event("container_recovered", container_id=key, attempt=1)
        await connected(client, key)
        await crash(client, key, 3)
        await client.event("recovery_scheduled", container_id=key, attempt=2)
        await to_thread.run_sync(manager.kill)
    await again(manager)
    async with client_of(manager) as client:
        await reaches(client, key, state="running", restarts=2, socket_connected=True)
        assert crashes(client, key) == [], "a crash was told again"
        await crash(client, key, 3)
        await client.event("recovery_scheduled", container_id=key, attempt=3)


async def test_what_was_asked_to_stop_stays_stopped(manager: Manager) -> None:
    always = {**PATIENT, "policy": "always", "first_delay": 0.1}
    async with client_of(manager) as client:
        stopped = await client.running(code_path=code_of(manager), restart=always)
        await client.ask("stop_container", container_id=stopped)
        deaf = await client.create(
            command=manager.command("-c", DEAF), restart=always, start=True, stop_timeout=3
        )
        await _printed(client, deaf, "deaf")
        await client.io.emit("stop_container", {"container_id": deaf})
        async with client_of(manager) as other:  # its answer: the stop was taken before
            await state_of(other, deaf)
            await anyio.sleep(0.3)
        await to_thread.run_sync(manager.kill)
    await again(manager)
    async with client_of(manager) as client:
        for key in (stopped, deaf):
            await reaches(client, key, state="stopped")
        await sound(manager, client)
        assert client.told("container_crashed", "recovery_scheduled", "container_recovered") == []
    await to_thread.run_sync(manager.kill)
    await again(manager)
    async with client_of(manager) as client:
        await sound(manager, client)
        assert {e["status"] for e in (await listing(client)).values()} == {"stopped"}


async def _printed(client: Client, key: str, line: str) -> None:
    async def check() -> list[str]:
        logs = await client.ask("get_container_logs", container_id=key)
        there = line in {entry["line"] for entry in logs["lines"]}
        return [] if there else [f"{key} has not printed {line!r}"]

    await settles(check)


async def test_what_ended_while_the_manager_was_away_is_told_once(manager: Manager) -> None:
    async with client_of(manager) as client:
        code = code_of(manager)
        killed = await client.running(code_path=code, restart={**PATIENT, "first_delay": 0.2})
        left = await client.running(code_path=code)
        quiet = await client.running(code_path=code, restart=PATIENT)
        alive = await pids(manager)
        # Its end takes a moment: the manager is away by then.
        await client.say(quiet, "silence")
        await to_thread.run_sync(manager.kill)
    for key in (killed, left):
        os.kill(alive[key], signal.SIGKILL)
    # As a program ends that has done its work: this one ends with 0 when it hears SIGTERM.
    os.kill(alive[quiet], signal.SIGTERM)
    await to_thread.run_sync(_wait_for_ends, manager, alive)
    await again(manager)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(manager)) for _ in range(2)]
        for client in clients:
            for key in (killed, left):
                told = await client.event("container_crashed", container_id=key)
                assert told["exit_code"] == 137
                assert told["crash_details"]["signal"] == "SIGKILL"
        await connected(clients[0], killed)
        await reaches(clients[0], left, state="exited")
        await reaches(clients[0], quiet, state="stopped")
        await sound(manager, clients[0])
        for client in clients:
            assert len(crashes(client, killed)) == len(crashes(client, left)) == 1
            assert crashes(client, quiet) == []
    await to_thread.run_sync(manager.kill)
    await again(manager)
    async with client_of(manager) as client:
        await connected(client, killed)
        await sound(manager, client)
        assert client.told("container_crashed") == [], "told again by another life"


def _wait_for_ends(manager: Manager, alive: dict[str, int]) -> None:
    end = time.monotonic() + 10
    while set(alive) & {k for k, one in outside.containers(manager).items() if one.pid}:
        assert time.monotonic() < end
        time.sleep(0.05)


def second(manager: Manager, **environ: str) -> Manager:
    """Another manager of the same instance."""
    given = {"FLOW_MANAGER_INSTANCE": manager.instance, **environ}
    return Manager(
        manager.root, manager.backend, manager.image, manager.engine, program=SERVE, **given
    )


def names_the_instance(code: int, told: str) -> bool:
    """Whether a start was refused in one line that names the instance."""
    line = re.fullmatch(r"flow-manager: instance: .+\n", told)
    return code == 2 and line is not None


async def test_a_second_manager_of_the_same_instance_refuses_to_start(manager: Manager) -> None:
    async with client_of(manager) as client:
        key = await client.running(code_path=code_of(manager))
        before = await pids(manager)
        state = {"FLOW_MANAGER_STATE_DIR": str(manager.state_dir)}
        rivals = [second(manager, **state)]
        rivals.append(second(manager, SOCKET_DIR=str(manager.socket_dir), **state))
        if manager.backend == "docker":  # the engine is what they share
            rivals.append(second(manager))
        for rival in rivals:
            code, told = await to_thread.run_sync(rival.refused)
            assert names_the_instance(code, told), (code, told)
        assert await client.question(key, "echo", 1) == 1
        assert client.told("socket_disconnected", "status_changed", "container_crashed") == [
            "status_changed"
        ]
        assert await pids(manager) == before
        await to_thread.run_sync(manager.kill)
    # The lock was the dead one's: nothing is in the way of the next.
    await again(manager)
    async with client_of(manager) as client:
        await connected(client, key)


@pytest.mark.docker
@pytest.mark.parametrize("shared_state", [False, True])
async def test_two_instances_on_one_engine_never_touch_each_other(
    docker_engine: Any, flow_image: str, tmp_path: Path, shared_state: bool
) -> None:
    first = Manager(tmp_path, "docker", flow_image, docker_engine.url)
    other = {"FLOW_MANAGER_INSTANCE": f"{first.instance}-2"}
    if shared_state:
        other["FLOW_MANAGER_STATE_DIR"] = str(first.state_dir)
    url = docker_engine.url
    twin = Manager(tmp_path, "docker", flow_image, url, program=SERVE, **other)
    async with AsyncExitStack() as stack:
        for each in (first, twin):
            await to_thread.run_sync(each.__enter__)
            stack.push_async_callback(to_thread.run_sync, each.__exit__, None, None, None)
        async with client_of(first) as one, client_of(twin) as two:
            code = code_of(first)
            ours = await one.running(code_path=code, name=f"{first.instance}-alike")
            theirs = await two.running(code_path=code, name=f"{first.instance}-alike-2")
            assert set(await listing(one)) == {ours}
            assert set(await listing(two)) == {theirs}
            for request in ("get_container_status", "stop_container", "delete_container"):
                for stranger in (ours, ours[:6], f"{first.instance}-alike"):
                    answer = await two.ask(request, container_id=stranger)
                    assert answer["error_type"] == "container_not_found"
            taken = await two.ask(
                "create_container", image=flow_image, name=f"{first.instance}-alike"
            )
            assert taken["error_type"] == "docker_api_error"
            before = await pids(first) | await pids(twin)
            await to_thread.run_sync(twin.kill)
        await again(twin)
        async with client_of(first) as one, client_of(twin) as two:
            await connected(two, theirs)
            await sound(first, one)
            await sound(twin, two)
            assert await pids(first) | await pids(twin) == before
            assert await one.question(ours, "echo", 1) == 1
            assert not [b for _, b in one.events if theirs in str(b)]
            assert not [b for _, b in two.events if ours in str(b)]


async def test_a_manager_that_is_asked_to_go_says_so_and_leaves_flows_alone(
    manager: Manager,
) -> None:
    async with client_of(manager) as client:
        key = await client.running(code_path=code_of(manager))
        before = await pids(manager)
        assert await to_thread.run_sync(manager.stop) == 0
        told = await client.event("manager_stopping")
        assert told["reason"]
        assert told["timestamp"].endswith("Z")
        assert client.told("socket_disconnected", "container_crashed") == []
    assert await pids(manager) == before
    await again(manager)
    async with client_of(manager) as client:
        await connected(client, key)
        assert await pids(manager) == before


async def test_flows_that_the_shutdown_stopped_run_again_after_the_next_start(
    stopping_manager: Manager,
) -> None:
    manager = stopping_manager
    async with client_of(manager) as client:
        code = code_of(manager)
        keys = [await client.running(code_path=code) for _ in range(3)]
        down = await client.running(code_path=code, restart={**PATIENT, "policy": "always"})
        await client.ask("stop_container", container_id=down)
        deaf = await client.create(command=manager.command("-c", DEAF), start=True, stop_timeout=1)
        began = time.monotonic()
        assert await to_thread.run_sync(manager.stop) == 0
        assert time.monotonic() - began < 12
        await client.event("manager_stopping")
        assert client.told("container_crashed") == []
    assert await pids(manager) == {}
    await again(manager)
    async with client_of(manager) as client:
        for key in keys:
            await connected(client, key)
        await reaches(client, deaf, state="running")
        await reaches(client, down, state="stopped")
        await sound(manager, client)
        assert client.told("container_crashed") == []


async def test_a_manager_that_was_frozen_tells_nothing_false(manager: Manager) -> None:
    async with client_of(manager) as client:
        code = code_of(manager)
        keys = [await client.running(code_path=code) for _ in range(2)]
        doomed = await client.running(code_path=code)
        before = await pids(manager)
        mark = len(client.events)
        manager.send(signal.SIGSTOP)
        os.kill(before[doomed], signal.SIGKILL)
        await anyio.sleep(FROZEN)
        manager.send(signal.SIGCONT)
        await client.event("container_crashed", container_id=doomed)
        for key in keys:
            assert await client.question(key, "echo", 1) == 1
        await sound(manager, client)
        news = [(name, body) for name, body in client.events[mark:] if name in NEWS]
        assert all(body["container_id"] == doomed for _, body in news), news
        assert len(crashes(client, doomed)) == 1
        assert {k: pid for k, pid in before.items() if k != doomed} == await pids(manager)


NEWS = ("container_crashed", "status_changed", "socket_disconnected", "container_recovered")
