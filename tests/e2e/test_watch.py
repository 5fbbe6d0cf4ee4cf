"""The watch on a real engine: what a client is told of containers that burn, fill, hang or fail.

One service for all.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import pytest
from anyio import to_thread

from tests.e2e.client import Client
from tests.e2e.conftest import FLOWS
from tests.e2e.service import Service
from tests.e2e.sights import on_engine, told_of, until
from tests.support.engine import DockerEngine
from tests.support.images import with_health_check

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

MIB = 1024 * 1024
WARNING = "container_health_warning"
#: Seconds. A flow that is only just starting is no news, and a machine under load is none.
QUICK = {"interval": 0.3, "timeout": 3, "retries": 2, "start_period": 20}
SICK = "import sys; sys.exit(int(open('/tmp/sick').read()))"
COMMAND = {"check_type": "command", "command": ["python3", "-c", SICK], **QUICK}
SOCKET = {"check_type": "socket", **QUICK, "timeout": 1.2}
#: Events that an engine keeps, and seconds between the manager's comparisons with it.
REMEMBERED, BETWEEN_LOOKS = 256, 5.0
RESTARTED = ("recovery_scheduled", "container_recovered")


@pytest.fixture(scope="module")
def service(
    docker_engine: DockerEngine, flow_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("watch")
    shutil.copytree(FLOWS, root / "code", ignore=shutil.ignore_patterns("__pycache__"))
    environ = {"FLOW_MANAGER_MONITORING_INTERVAL": "0.5"}
    with Service(root, "docker", flow_image, docker_engine.url, **environ) as running:
        yield running


@pytest.fixture
async def watcher(service: Service) -> AsyncIterator[Client]:
    """A client that leaves no container behind; its flow is the one that misbehaves."""
    async with Client(service) as connected:
        yield connected


async def flow(client: Client, **payload: Any) -> str:
    """A running flow."""
    code = str(client.service.root / "code")
    command = client.service.command("watched.py")
    return await client.running(code_path=code, command=command, stop_timeout=1, **payload)


async def becomes(client: Client, container_id: str, health: str) -> None:
    """Wait until the status tells of a health."""

    async def is_so() -> bool:
        told = await client.ask("get_container_status", container_id=container_id)
        return bool(told["health"] == health)

    await until(is_so)


def updates(client: Client, container_id: str, since: int = 0) -> list[dict[str, Any]]:
    """The uses that were told of a container."""
    return [
        body["status"]["resource_usage"]
        for name, body in client.events[since:]
        if name == "container_status_update"
        and body["container_id"] == container_id
        and body["status"]["resource_usage"]
    ]


def alerts(client: Client, container_id: str, kind: str) -> list[dict[str, Any]]:
    return [
        body
        for name, body in client.events
        if (name, body.get("container_id")) == ("resource_alert", container_id)
        and body["resource_type"] == kind
    ]


async def measured(client: Client, container_id: str, kind: str, *, above: bool, t: float) -> None:
    """Wait for two samples from now on that are above a threshold, or below it."""
    since = len(client.events)

    async def found() -> bool:
        values = [u[kind] for u in updates(client, container_id, since)]
        return len([v for v in values if (v >= t) == above]) >= 2

    await until(found)


@pytest.mark.parametrize(
    ("kind", "threshold", "deed", "data", "undo"),
    [
        ("cpu_percent", 15, "burn", None, "rest"),
        ("memory_percent", 70, "fill", 45 * MIB, "free"),
    ],
)
async def test_too_much_use_is_told_once_and_again_only_after_it_fell_back(
    watcher: Client, kind: str, threshold: float, deed: str, data: Any, undo: str
) -> None:
    await watcher.ask("set_resource_thresholds", thresholds={kind: threshold})
    made = await flow(watcher, resources={"memory": 64 * MIB})
    for times in (1, 2):
        await measured(watcher, made, kind, above=False, t=threshold)
        before = len(alerts(watcher, made, kind))
        await watcher.question(made, deed, data)
        await measured(watcher, made, kind, above=True, t=threshold)
        told = alerts(watcher, made, kind)[before:]
        assert len(told) == 1, f"at time {times}"
        assert told[0]["threshold"] == threshold
        assert told[0]["current_value"] == told[0]["usage_data"][kind] >= threshold
        await watcher.question(made, undo)


async def test_updates_history_and_status_agree_with_what_the_engine_says(
    watcher: Client, docker_engine: DockerEngine
) -> None:
    made = await flow(watcher, resources={"memory": 64 * MIB}, name="watched-by-name")
    await watcher.question(made, "fill", 20 * MIB)
    await measured(watcher, made, "memory_percent", above=True, t=30)
    truth = await on_engine(docker_engine, lambda c: c.stats(made, stream=False))
    answer = await watcher.ask("get_resource_usage_history", container_id=made, limit=1000)
    told, history = updates(watcher, made), answer["history"]
    assert [each for each in history if each in told] == told[: len(history)]
    cache = truth["memory_stats"]["stats"]
    used = truth["memory_stats"]["usage"] - cache.get("total_inactive_file", 0)
    last = history[-1]
    assert last["memory_limit"] == truth["memory_stats"]["limit"] == 64 * MIB
    assert abs(last["memory_usage"] - used) < 4 * MIB
    assert last["pids"] == truth["pids_stats"]["current"]
    status = await watcher.ask("get_container_status", container_id=made)
    shown = next(b for n, b in reversed(watcher.events) if n == "container_status_update")["status"]
    same = ("container_id", "name", "state", "health", "restarts", "socket_connected")
    assert {k: shown[k] for k in same} == {k: status[k] for k in same}
    assert status["name"] == "watched-by-name"


async def test_a_flow_that_stops_answering_pings_is_told_of_and_not_restarted_unasked(
    watcher: Client,
) -> None:
    made = await flow(watcher, health_check=SOCKET)
    await becomes(watcher, made, "healthy")
    since = len(watcher.events)
    await watcher.question(made, "mute", True)
    told = await watcher.event(WARNING, since=since, container_id=made, failures=3)
    assert told["health"] == "unhealthy"
    await watcher.question(made, "mute", False)
    await becomes(watcher, made, "healthy")
    answer = await watcher.ask("get_health_status_history", container_id=made, limit=100)
    assert answer["consecutive_failures"] == 0
    assert {each["health"] for each in answer["history"]} >= {"healthy", "unhealthy"}
    assert not told_of(watcher, made, *RESTARTED)


async def test_a_frozen_flow_is_healed_after_the_stated_failures(watcher: Client) -> None:
    made = await flow(watcher, health_check=SOCKET, restart={"policy": "unhealthy"})
    await becomes(watcher, made, "healthy")
    since = len(watcher.events)
    await watcher.say(made, "freeze")
    await watcher.event("container_recovered", since=since, container_id=made)
    names = (WARNING, *RESTARTED)
    assert told_of(watcher, made, *names, since=since) == [WARNING, WARNING, *RESTARTED]
    await becomes(watcher, made, "healthy")


async def test_healing_leaves_a_restart_that_is_under_way_alone(watcher: Client) -> None:
    check = {**SOCKET, "retries": 1, "timeout": 2}
    made = await flow(watcher, health_check=check, restart={"policy": "unhealthy"})
    await becomes(watcher, made, "healthy")
    since = len(watcher.events)
    await watcher.say(made, "freeze")
    answer = await watcher.ask("restart_container", container_id=made, timeout=4)
    assert answer["status"] == "running"
    assert told_of(watcher, made, WARNING, since=since)  # it was found unhealthy in the meantime
    await watcher.event("socket_connected", since=since, container_id=made)
    await becomes(watcher, made, "healthy")
    assert not told_of(watcher, made, *RESTARTED)


async def test_a_command_that_fails_is_told_of_with_what_it_said(watcher: Client) -> None:
    script = "print('the pump is dry'); " + SICK
    check = {**COMMAND, "command": ["python3", "-c", script]}
    made = await flow(watcher, health_check=check)
    await becomes(watcher, made, "healthy")
    since = len(watcher.events)
    await watcher.question(made, "sick", "3")
    told = await watcher.event(WARNING, since=since, container_id=made, failures=2)
    assert "ended with code 3: the pump is dry" in told["error"]
    await watcher.question(made, "sick", "0")
    await becomes(watcher, made, "healthy")


async def test_a_port_that_nobody_published_is_checked_by_http_and_by_tcp(
    watcher: Client,
) -> None:
    made = await flow(watcher, health_check={"check_type": "http", "port": 8080, **QUICK})
    await watcher.question(made, "open")
    await becomes(watcher, made, "healthy")
    since = len(watcher.events)
    await watcher.question(made, "status", 503)
    told = await watcher.event(WARNING, since=since, container_id=made, health="unhealthy")
    assert told["error"] == "GET / on port 8080 answered 503"
    tcp = {"check_type": "tcp", "port": 8080, **QUICK}
    await watcher.ask("set_health_check_config", container_id=made, config=tcp)
    await becomes(watcher, made, "healthy")
    since = len(watcher.events)
    await watcher.question(made, "close")
    told = await watcher.event(WARNING, since=since, container_id=made, health="unhealthy")
    assert "port 8080 cannot be reached" in told["error"]


async def test_an_images_own_check_is_followed_and_healed_by_where_that_is_asked(
    watcher: Client, docker_engine: DockerEngine, flow_image: str
) -> None:
    instruction = f'--interval=1s --retries=1 CMD ["python3", "-c", "{SICK}"]'
    image = await on_engine(
        docker_engine,
        lambda c: with_health_check(c, "flow-manager-test/sick:1", flow_image, instruction),
    )
    left = await flow(watcher, image=image)
    asked = {"check_type": "docker", **QUICK}
    healed = await flow(watcher, image=image, health_check=asked, restart={"policy": "unhealthy"})
    for each in (left, healed):
        await becomes(watcher, each, "healthy")
    for each in (left, healed):
        await watcher.question(each, "sick", "1")
    told = await watcher.event(WARNING, container_id=left)
    assert (told["health"], told["error"]) == ("unhealthy", "the image's own check fails")
    await watcher.event("container_recovered", container_id=healed)
    assert not told_of(watcher, left, *RESTARTED)


async def test_commands_that_hang_do_not_pile_up(
    watcher: Client, docker_engine: DockerEngine
) -> None:
    hangs = ["python3", "-c", "import time; time.sleep(600)"]
    check = {"check_type": "command", "command": hangs, "interval": 0.1, "timeout": 0.5}
    made = await flow(watcher, health_check=check)
    most = 0

    async def told() -> bool:
        nonlocal most
        seen = await on_engine(docker_engine, lambda c: c.top(made))
        most = max(most, len(seen["Processes"]))
        return len(told_of(watcher, made, WARNING)) >= 6

    await until(told)
    assert most <= 4  # the init, the flow, one command, and one that is being killed or begun


async def test_commands_leave_room_in_the_engines_memory_for_what_happens(
    watcher: Client, docker_engine: DockerEngine
) -> None:
    check = {**COMMAND, "interval": 0.05}
    checked = [await flow(watcher, health_check=check) for _ in range(3)]
    began = await on_engine(docker_engine, lambda c: c.info()["SystemTime"])
    await on_engine(docker_engine, lambda c: c.stop(checked[0], timeout=1))

    async def many() -> bool:
        return (await commands_since(docker_engine, began))[0] >= 3 * 15

    await until(many)
    count, seconds = await commands_since(docker_engine, began)
    assert count / seconds * BETWEEN_LOOKS < 0.8 * REMEMBERED
    await watcher.event("status_changed", container_id=checked[0], new_state="stopped")
    assert not told_of(watcher, checked[0], "container_crashed", *RESTARTED)


async def commands_since(engine: DockerEngine, began: str) -> tuple[int, float]:
    """How many events of commands the engine remembers since then, and the seconds since then."""

    def ask(client: Any) -> tuple[int, float]:
        ended = client.info()["SystemTime"]
        first, last = [datetime.fromisoformat(each).timestamp() for each in (began, ended)]
        kind = {"type": "container"}
        found = client.events(since=f"{first:.6f}", until=f"{last:.6f}", decode=True, filters=kind)
        return len([e for e in found if e["Action"].startswith("exec_")]), last - first

    return await on_engine(engine, ask)


async def test_a_restarted_manager_keeps_configs_thresholds_and_choices(
    service: Service,
) -> None:
    watcher = Client(service)
    await watcher.__aenter__()
    made = await flow(watcher, health_check=SOCKET)
    fallback = {"check_type": "tcp", "port": 1, "interval": 60}
    await watcher.ask("set_health_check_config", container_id=made, config=COMMAND)
    await watcher.ask("set_default_health_config", config=fallback)
    await watcher.ask("set_resource_thresholds", thresholds={"pids": 400, "cpu_percent": None})
    await watcher.ask("disable_resource_monitoring")
    asked = {
        "get_health_check_config": {"container_id": made},
        "get_default_health_config": {},
        "get_resource_thresholds": {},
    }
    before = {name: await watcher.ask(name, **payload) for name, payload in asked.items()}
    await watcher.io.disconnect()
    await to_thread.run_sync(service.stop)
    await to_thread.run_sync(service.start)
    async with Client(service) as again:
        assert {name: await again.ask(name, **body) for name, body in asked.items()} == before

        async def checked_often() -> bool:
            told = await again.ask("get_health_status_history", container_id=made)
            return len(told["history"]) >= 5

        await until(checked_often)
        assert not again.told("container_status_update")
        await again.ask("enable_resource_monitoring")
        await again.event("container_status_update", container_id=made)
        await again.ask("set_default_health_config", config=None)
        await again.ask("delete_container", container_id=made)
