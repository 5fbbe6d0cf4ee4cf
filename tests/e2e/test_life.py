"""A whole life of a container, by a client that knows nothing but the contract."""

from __future__ import annotations

import os
import re
import signal
import stat
from pathlib import Path

import anyio
import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


async def test_a_whole_life(client: Client, service: Service, code: Path) -> None:
    made = await client.ask(
        "create_container",
        image=service.image,
        name="whole-life",
        command=service.command("flow.py"),
        code_path=str(code),
        environment={"COLOUR": "blue"},
        labels={"team": "a"},
        stop_timeout=2,
        request_id="req-1",
    )
    key = made["container_id"]
    assert re.fullmatch(r"[0-9a-f]{12}", key)
    assert made["name"] == "whole-life"
    assert made["image"] == service.image
    assert made["status"] == "created"
    assert made["request_id"] == "req-1"
    assert made["socket_path"] == str(service.socket_dir / "whole-life.sock")
    assert stat.S_ISSOCK(os.stat(made["socket_path"]).st_mode)

    started = await client.ask("start_container", container_id="whole-life")
    assert started == {"container_id": key, "status": "running"}
    up = await client.event("socket_connected", container_id=key)
    assert up["reconnected"] is False
    assert TIMESTAMP.fullmatch(up["timestamp"])

    sent = await client.ask(
        "send_message",
        container_id=key[:4],
        message={"command": "echo", "data": {"n": 1}, "id": "mine"},
        reply=True,
        timeout=10,
    )
    assert sent["status"] == "sent"
    assert sent["message"] == {"command": "echo", "data": {"n": 1}, "id": "mine"}
    assert sent["reply"] == {"command": "result", "data": {"n": 1}, "reply_to": "mine"}

    await client.say(key, "say", "hello")
    heard = await client.event("message_received", container_id=key)
    assert heard["message"] == {"command": "said", "data": "hello"}

    info = await client.question(key, "info")
    assert info["environment"]["COLOUR"] == "blue"
    assert info["environment"]["FLOW_SOCKET"] == info["environment"]["SOCKET_PATH"]

    status = await client.ask("get_container_status", container_id=key)
    assert status["state"] == "running"
    assert status["health"] == "none"
    assert status["uptime"] > 0
    assert status["exit_code"] is None
    assert status["restarts"] == 0
    assert status["socket_connected"] is True
    assert TIMESTAMP.fullmatch(status["last_communication"])
    assert status["resource_usage"]["memory_usage"] > 0

    listed = await client.ask("list_containers", labels={"team": "a"}, state="running")
    assert listed["count"] == 1
    assert listed["containers"][0]["id"] == key
    assert listed["containers"][0]["labels"] == {"team": "a"}
    assert (await client.ask("list_containers", labels={"team": "b"}))["count"] == 0

    await client.say(key, "print", "to be seen")
    with anyio.fail_after(10):
        while True:
            logs = await client.ask("get_container_logs", container_id=key, tail=2)
            lines = {(line["stream"], line["line"]) for line in logs["lines"]}
            if lines == {("stdout", "to be seen"), ("stderr", "to be seen")}:
                break

    (code / "flow.py").write_text(
        (code / "flow.py").read_text().replace("VERSION = 1", "VERSION = 2")
    )
    updated = await client.ask("update_container", container_id=key, code_path=str(code))
    assert updated == {"container_id": key, "code_path": str(code), "status": "updated"}
    assert (await client.question(key, "info"))["version"] == 2

    before = await client.question(key, "info")
    mark = len(client.events)
    restarted = await client.ask("restart_container", container_id=key)
    assert restarted == {"container_id": key, "status": "running"}
    assert (await client.event("socket_connected", since=mark, container_id=key))["reconnected"]
    assert (await client.question(key, "info"))["pid"] != before[
        "pid"
    ] or service.backend == "docker"

    stopped = await client.ask("stop_container", container_id=key)
    assert stopped == {"container_id": key, "status": "stopped"}
    status = await client.ask("get_container_status", container_id=key)
    assert (status["state"], status["uptime"], status["exit_code"]) == ("stopped", 0, 0)

    deleted = await client.ask("delete_container", container_id=key)
    client._made.clear()
    assert deleted == {"container_id": key, "status": "deleted"}
    assert not list(service.socket_dir.iterdir())
    assert (await client.ask("list_containers"))["count"] == 0

    assert client.moves(key) == [
        ("created", "running"),
        ("running", "stopped"),
        ("stopped", "running"),
        ("running", "stopped"),
        ("stopped", "running"),
        ("running", "stopped"),
        ("stopped", "removing"),
    ]
    assert client.told("container_crashed", "error") == []
    assert (
        client.told("socket_connected", "socket_disconnected")
        == [
            "socket_connected",
            "socket_disconnected",
        ]
        * 3
    )
    activities = [body["activity_type"] for name, body in client.events if name == "activity_log"]
    assert activities[0] == "container_created"
    assert activities[-1] == "container_deleted"
    created = next(b for n, b in client.events if n == "activity_log")
    assert created["details"]["request_id"] == "req-1"


async def test_a_crash_is_told_and_recovered(client: Client, code: Path) -> None:
    key = await client.running(code_path=str(code), restart={"policy": "on-crash"})
    mark = len(client.events)
    await client.say(key, "exit", 3)
    crash = await client.event("container_crashed", container_id=key)
    assert crash["exit_code"] == 3
    assert crash["crash_details"]["oom_killed"] is False
    assert crash["crash_details"]["signal"] is None
    assert "leaving with 3" in crash["crash_details"]["logs"]
    scheduled = await client.event("recovery_scheduled", container_id=key)
    assert scheduled["attempt"] == 1
    assert scheduled["delay"] <= 0.1
    await client.event("container_recovered", container_id=key, attempt=1)
    up = await client.event("socket_connected", since=mark, container_id=key)
    assert up["reconnected"] is True
    status = await client.ask("get_container_status", container_id=key)
    assert (status["state"], status["restarts"]) == ("running", 1)
    assert client.moves(key) == [
        ("created", "running"),
        ("running", "exited"),
        ("exited", "running"),
    ]


async def test_a_signal_is_named(client: Client, code: Path) -> None:
    key = await client.running(code_path=str(code))
    await client.say(key, "kill", int(signal.SIGKILL))
    if client.service.backend == "docker":
        # PID 1's child in the container is killed; the init passes 128 + 9 on.
        pass
    crash = await client.event("container_crashed", container_id=key)
    assert crash["exit_code"] == 137
    assert crash["crash_details"]["signal"] == "SIGKILL"
    status = await client.ask("get_container_status", container_id=key)
    assert (status["state"], status["exit_code"]) == ("exited", 137)


async def test_an_exit_with_code_0_is_no_crash(client: Client, code: Path) -> None:
    key = await client.running(code_path=str(code), restart={"policy": "on-crash"})
    await client.say(key, "exit", 0)
    await client.event("status_changed", container_id=key, new_state="stopped")
    assert (await client.ask("get_container_status", container_id=key))["state"] == "stopped"
    assert client.told("container_crashed", "recovery_scheduled") == []


async def test_a_stop_wins_over_a_waiting_restart(client: Client, code: Path) -> None:
    key = await client.running(
        code_path=str(code), restart={"policy": "on-crash", "max_attempts": 1}
    )
    await client.say(key, "exit", 1)
    await client.event("container_recovered", container_id=key)
    await client.event("socket_connected", container_id=key, reconnected=True)
    await client.say(key, "exit", 1)
    gave_up = await client.event("recovery_gave_up", container_id=key)
    assert gave_up["attempts"] == 1
    assert "1 restarts" in gave_up["reason"]
    stopped = await client.ask("stop_container", container_id=key)
    assert stopped["status"] == "stopped"


async def test_requests_of_one_client_on_one_container_keep_their_order(
    client: Client, service: Service, code: Path
) -> None:
    name = "ordered"
    answers: list[str] = []

    async def note(step: str, request: str, /, **payload: object) -> None:
        answer = await client.io.call(request, payload, timeout=60)
        assert not answer.get("error"), answer
        answers.append(step)

    async with anyio.create_task_group() as group:
        group.start_soon(
            lambda: note(
                "create",
                "create_container",
                name=name,
                image=service.image,
                command=service.command("flow.py"),
                code_path=str(code),
                stop_timeout=2,
            )
        )
        for step in ("start", "restart", "stop", "delete"):
            await anyio.sleep(0)
            group.start_soon(lambda s=step: note(s, f"{s}_container", container_id=name))
    assert answers == ["create", "start", "restart", "stop", "delete"]


async def test_the_same_create_sent_again_answers_with_the_container_already_made(
    client: Client, service: Service
) -> None:
    payload = {"image": service.image, "command": service.command("-V"), "request_id": "again"}
    first = await client.ask_raw("create_container", payload)
    second = await client.ask_raw("create_container", payload)
    assert second == first
    client._made.pop()
    other = await client.ask_raw("create_container", {**payload, "labels": {"x": "y"}})
    assert other["error_type"] == "validation_error"
    assert other["details"]["errors"][0]["field"] == "request_id"
    assert (await client.ask("list_containers"))["count"] == 1


async def test_the_socket_removed_by_hand_is_made_again(
    client: Client, service: Service, code: Path
) -> None:
    key = await client.running(code_path=str(code), name="socket-gone")
    (service.socket_dir / "socket-gone.sock").unlink()
    assert await client.question(key, "echo", 1) == 1
    with anyio.fail_after(10):
        while not (service.socket_dir / "socket-gone.sock").exists():
            await anyio.sleep(0.01)
    mark = len(client.events)
    await client.say(key, "drop")
    await client.event("socket_connected", since=mark, container_id=key, reconnected=True)
    assert await client.question(key, "echo", 2) == 2


async def test_a_bad_frame_is_reported_and_answered(client: Client, code: Path) -> None:
    key = await client.running(code_path=str(code))
    await client.say(key, "raw", (b"\0\0\0\3abc").hex())
    error = await client.event("error")
    assert error["error_type"] == "socket_error"
    assert error["details"]["container_id"] == key
    assert await client.question(key, "echo", "still here") == "still here"
