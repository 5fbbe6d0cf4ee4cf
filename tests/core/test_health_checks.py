"""Health checks, on both event loops, with an engine in memory and real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.events import HealthWarned
from flow_manager_core.health_checks.course import Course, Verdict
from flow_manager_core.health_checks.http_status import ask_status
from flow_manager_core.health_checks.pace import Pace
from flow_manager_core.models import CheckType, CommandOutcome, Health, HealthCheck
from tests.core.test_manager import NETWORK, House, house

pytestmark = pytest.mark.anyio

QUICK: dict[str, Any] = {"interval": 0.02, "timeout": 1, "retries": 2}
COMMAND = {"check_type": "command", "command": ["ask"], **QUICK}
UNHEALTHY = {"policy": "unhealthy"}


def warnings(h: House) -> list[HealthWarned]:
    return [event for event in h.told if isinstance(event, HealthWarned)]


async def warned(h: House, told: str) -> None:
    """Wait for a warning that says so: it is told once it is kept."""
    await h.until(lambda: any(told in warning.error for warning in warnings(h)))


async def until_health(h: House, key: str, health: str) -> dict[str, Any]:
    with anyio.fail_after(10):
        while True:
            status = await h.until_answered("get_container_status", container_id=key)
            if status["health"] == health:
                return status
            await anyio.sleep(0.005)


def well(h: House, code: int = 0, output: str = "") -> None:
    h.engine.commands["ask"] = CommandOutcome(code, output)


@asynccontextmanager
async def server(answer: Callable[[SocketStream], Any]) -> AsyncIterator[int]:
    """Listen on a port of this host; the in-memory engine's containers have the host's."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, answer)
            yield listener.extra(anyio.abc.SocketAttribute.local_port)
            group.cancel_scope.cancel()


def answering(words: bytes) -> Callable[[SocketStream], Any]:
    async def answer(stream: SocketStream) -> None:
        async with stream:
            with contextlib.suppress(anyio.EndOfStream):  # a mere look whether somebody listens
                await stream.receive()
                await stream.send(words)

    return answer


async def test_a_container_is_starting_then_healthy_then_unhealthy_after_the_retries() -> None:
    async with house() as h:
        well(h)
        key = await h.create("run", health_check=COMMAND)
        assert (await h.ask("get_container_status", container_id=key))["health"] == "starting"
        await until_health(h, key, "healthy")
        well(h, 3, "the database is gone")
        await until_health(h, key, "unhealthy")
        await h.until(lambda: len(warnings(h)) >= 2)
        first, second, *_ = warnings(h)
        assert (first.health, first.failures) == (Health.HEALTHY, 1)
        assert (second.health, second.failures) == (Health.UNHEALTHY, 2)
        assert first.error == "ask ended with code 3: the database is gone"
        assert "health_warning" in [e.activity_type for e in h.told if e.name == "activity_log"]  # type: ignore[attr-defined]
        well(h)
        await until_health(h, key, "healthy")


async def test_the_history_tells_every_check_and_the_failures_in_a_row() -> None:
    async with house() as h:
        well(h, 1)
        key = await h.create("run", health_check={**COMMAND, "retries": 3})
        await until_health(h, key, "unhealthy")
        told = await h.ask("get_health_status_history", container_id=key, limit=3)
        assert told["container_id"] == key
        assert told["current_health"] == "unhealthy"
        assert told["consecutive_failures"] >= 3
        whole = (await h.ask("get_health_status_history", container_id=key))["history"]
        assert [one["failures"] for one in whole[:3]] == [1, 2, 3]
        assert [one["health"] for one in whole[:3]] == ["starting", "starting", "unhealthy"]
        assert all(one["error"] for one in whole)
        assert len(told["history"]) == 3


async def test_failures_in_the_start_period_are_no_news() -> None:
    async with house() as h:
        well(h, 1)
        key = await h.create("run", health_check={**COMMAND, "start_period": 60})
        with anyio.fail_after(5):
            while len((await history(h, key))["history"]) < 4:
                await anyio.sleep(0.01)
        assert warnings(h) == []
        assert (await history(h, key))["current_health"] == "starting"


async def history(h: House, key: str) -> dict[str, Any]:
    return await h.ask("get_health_status_history", container_id=key)


async def test_an_unhealthy_container_is_restarted_where_its_policy_says_so() -> None:
    async with house() as h:
        well(h, 1)
        key = await h.create("run", health_check=COMMAND, restart=UNHEALTHY)
        await h.until(lambda: h.names("container_recovered"))
        assert h.names("recovery_scheduled")
        assert not h.names("container_crashed")
        well(h)
        status = await until_health(h, key, "healthy")
        assert status["state"] == "running"
        assert status["restarts"] >= 1


async def test_a_container_that_stays_unhealthy_is_given_up_as_a_crash_loop_is() -> None:
    async with house() as h:
        well(h, 1)
        key = await h.create("run", health_check=COMMAND, restart=UNHEALTHY)
        await h.until(lambda: h.names("recovery_gave_up"))
        assert len(h.names("container_recovered")) == 3
        await h.until_state(key, "stopped")


@pytest.mark.parametrize("policy", ["never", "on-crash", "always"])
async def test_no_other_policy_restarts_for_health(policy: str) -> None:
    async with house() as h:
        well(h, 1)
        key = await h.create("run", health_check=COMMAND, restart={"policy": policy})
        await h.until(lambda: len(warnings(h)) >= 4)
        assert not h.names("recovery_scheduled", "container_recovered")
        assert (await h.ask("get_container_status", container_id=key))["state"] == "running"


async def test_a_container_that_somebody_stops_is_not_healed() -> None:
    async with house() as h:
        well(h, 1)
        key = await h.create("run", health_check={**COMMAND, "retries": 1}, restart=UNHEALTHY)
        await h.ask("stop_container", container_id=key)
        await anyio.sleep(0.2)
        assert (await h.ask("get_container_status", container_id=key))["state"] == "stopped"
        assert (await history(h, key))["current_health"] == "none"


async def test_a_config_can_be_chosen_at_run_time_and_outlives_the_manager(
    tmp_path: Path,
) -> None:
    kept = {"journal": "sqlite", "state_dir": tmp_path}
    async with house(**kept) as h:
        well(h)
        key = await h.create("run", name="kept")
        assert await h.ask("get_health_check_config", container_id=key) == {
            "container_id": key,
            "config": None,
        }
        chosen = await h.ask("set_health_check_config", container_id=key, config=COMMAND)
        assert chosen["config"]["check_type"] == "command"
        assert chosen["config"]["command"] == ["ask"]
        assert chosen["config"]["retries"] == 2
        await until_health(h, key, "healthy")
        assert await h.ask("get_health_check_config", container_id=key) == chosen
        engine = h.engine
        async with house(engine, **{**kept, "state_dir": tmp_path / "other"}) as second:
            assert (await second.ask("get_health_check_config", container_id=key))["config"] is None


async def test_a_config_outlives_the_manager(tmp_path: Path) -> None:
    kept = {"journal": "sqlite", "state_dir": tmp_path}
    async with house(**kept) as outer:
        await outer.ask("set_default_health_config", config={"check_type": "socket"})
        key = await outer.create("run")
        chosen = await outer.ask("set_health_check_config", container_id=key, config=COMMAND)
        await outer.manager.__aexit__(None, None, None)
        try:
            async with house(outer.engine, **kept) as h:
                assert await h.ask("get_health_check_config", container_id=key) == chosen
                default = await h.ask("get_default_health_config")
                assert default["config"]["check_type"] == "socket"
        finally:
            await outer.manager.__aenter__()


async def test_the_default_applies_to_containers_without_a_check_of_their_own() -> None:
    async with house() as h:
        well(h)
        bare = await h.create("run")
        own = await h.create("run", health_check={**COMMAND, "command": ["other"]})
        await h.ask("set_default_health_config", config=COMMAND)
        await until_health(h, bare, "healthy")
        await until_health(h, own, "unhealthy")
        await h.ask("set_default_health_config", config=None)
        await until_health(h, bare, "none")
        assert await h.ask("get_default_health_config") == {"config": None}


async def test_a_flow_that_answers_pings_is_healthy_and_one_without_a_channel_is_not() -> None:
    async with house(network=NETWORK) as h:
        key = await h.ask(
            "create_container",
            image="flow",
            start=True,
            health_check={"check_type": "socket", **QUICK},
        )
        await until_health(h, key["container_id"], "healthy")
        mute = await h.create("run", health_check={"check_type": "socket", **QUICK})
        await until_health(h, mute, "unhealthy")
        await warned(h, "the flow is not connected")


async def test_a_port_that_accepts_is_healthy_and_one_that_does_not_is_named() -> None:
    async with house() as h, server(answering(b"")) as port:
        check = {"check_type": "tcp", "port": port, **QUICK}
        key = await h.create("run", health_check=check)
        await until_health(h, key, "healthy")
    async with house() as h:
        key = await h.create("run", health_check=check)
        await until_health(h, key, "unhealthy")
        await warned(h, f"port {port} cannot be reached")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 302 Found\r\nLocation: http://elsewhere.test/\r\n\r\n", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "answered 503"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "what came is not HTTP"),
        (b"", "/ready?deep=1"),
    ],
)
async def test_http_is_judged_by_its_status(words: bytes, told: str) -> None:
    async with house() as h, server(answering(words)) as port:
        check = {"check_type": "http", "endpoint": "/ready?deep=1", "port": port, **QUICK}
        key = await h.create("run", health_check=check)
        await until_health(h, key, "unhealthy" if told else "healthy")
        if told:
            await warned(h, told)


async def test_a_server_that_never_answers_is_not_waited_for_beyond_the_timeout() -> None:
    async def silent(stream: SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with house() as h, server(silent) as port:
        check = {"check_type": "http", "port": port, **QUICK, "timeout": 0.05}
        key = await h.create("run", health_check=check)
        await until_health(h, key, "unhealthy")
        await warned(h, "no answer within 0.05 s")


async def test_a_command_that_hangs_is_a_failure_that_counts() -> None:
    async with house() as h:
        h.engine.commands["ask"] = None
        key = await h.create("run", health_check={**COMMAND, "timeout": 0.05})
        await until_health(h, key, "unhealthy")
        await warned(h, "no answer within 0.05 s")


async def test_an_endless_head_is_not_read_to_its_end() -> None:
    async def endless(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            with anyio.move_on_after(5):
                while True:
                    await stream.send(b"X: y\r\n" * 1000)

    async with server(endless) as port:
        with pytest.raises(ValueError, match="not HTTP"), anyio.fail_after(5):
            await ask_status("127.0.0.1", port, "/")


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ({"check_type": "http"}, ["port"]),
        ({"check_type": "tcp"}, ["port"]),
        ({"check_type": "command"}, ["command"]),
        ({"check_type": "weather"}, ["check_type"]),
        ({"check_type": "http", "port": 80, "endpoint": "http://169.254.1.1/"}, ["endpoint"]),
        ({"check_type": "http", "port": 80, "endpoint": "/a b"}, ["endpoint"]),
        ({"check_type": "socket", "retries": 0, "interval": 0}, ["interval", "retries"]),
        ({"check_type": "socket", "shell": "rm"}, ["shell"]),
    ],
)
async def test_a_check_that_cannot_be_is_refused_with_every_fault(
    config: dict[str, Any], fields: list[str]
) -> None:
    async with house() as h:
        key = await h.create("run")
        for operation, payload, prefix in (
            ("set_health_check_config", {"container_id": key, "config": config}, "config"),
            ("set_default_health_config", {"config": config}, "config"),
            ("create_container", {"image": "memory", "health_check": config}, "health_check"),
        ):
            with pytest.raises(InvalidRequest) as refused:
                await h.ask(operation, **payload)
            told = sorted(fault["field"] for fault in refused.value.details["errors"])
            assert told == [f"{prefix}.{field}" for field in fields]


async def test_no_check_is_made_while_the_engine_is_away() -> None:
    async with house() as h:
        well(h)
        key = await h.create("run", health_check=COMMAND)
        await until_health(h, key, "healthy")
        h.engine.away = True
        await h.until_health("degraded")
        await anyio.sleep(0.1)
        count = len(warnings(h))
        assert count == 0
        h.engine.away = False
        await until_health(h, key, "healthy")


def course(**changes: Any) -> Course:
    return Course(HealthCheck(CheckType.SOCKET, **changes))


def test_a_success_ends_the_start_period() -> None:
    one = course(start_period=60.0, retries=1)
    assert not one.note(Verdict("down"), up_for=1)
    assert not one.note(Verdict(), up_for=2)
    assert one.health is Health.HEALTHY
    assert one.note(Verdict("down"), up_for=3)
    assert one.health is Health.UNHEALTHY


async def test_turns_come_no_faster_than_their_pace() -> None:
    pace, began = Pace(0.05), anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(pace.turn)
    assert anyio.current_time() - began >= 0.15
