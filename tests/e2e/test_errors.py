"""Every error of the contract, raised by its documented cause."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio


def check(answer: dict[str, Any], error_type: str, operation: str, **details: Any) -> str:
    """The one format, whatever went wrong; returns the message."""
    assert set(answer) == {"error", "error_type", "message", "details", "timestamp"}
    assert answer["error"] is True
    assert answer["error_type"] == error_type, answer
    assert answer["details"]["operation"] == operation
    assert isinstance(answer["details"]["retryable"], bool)
    assert answer["details"]["hint"]
    assert re.fullmatch(r"[\d-]{10}T[\d:.]+Z", answer["timestamp"])
    assert "Traceback" not in str(answer)
    for name, value in details.items():
        assert answer["details"][name] == value
    return str(answer["message"])


async def test_an_image_that_is_not_there(client: Client, service: Service) -> None:
    answer = await client.ask("create_container", image="no-such-image-here", name="imageless")
    message = check(answer, "image_not_found", "create_container")
    assert "no-such-image-here" in message
    assert (await client.ask("list_containers"))["count"] == 0
    assert not (service.socket_dir / "imageless.sock").exists()


@pytest.mark.parametrize("ref", ["abc123def456", "nobody", "f" * 64, "ab"])
@pytest.mark.parametrize("operation", ["start", "stop", "restart", "delete"])
async def test_a_container_that_is_not_there(client: Client, operation: str, ref: str) -> None:
    answer = await client.ask(f"{operation}_container", container_id=ref)
    check(answer, "container_not_found", f"{operation}_container", container_id=ref)
    assert answer["message"] == f"Container not found: {ref}"


async def test_a_name_in_use(client: Client) -> None:
    await client.create(name="taken-name")
    answer = await client.ask(
        "create_container", image=client.service.image, name="taken-name", command=["x"]
    )
    assert "in use" in check(answer, "docker_api_error", "create_container")
    assert (await client.ask("list_containers"))["count"] == 1


async def test_a_command_that_cannot_start_leaves_the_container_created(client: Client) -> None:
    if client.service.backend == "process":
        pytest.skip("a process that runs Python can always be started")
    key = await client.create(command=["/no/such/program"])
    check(
        await client.ask("start_container", container_id=key), "docker_api_error", "start_container"
    )
    status = await client.ask("get_container_status", container_id=key)
    assert status["state"] == "created"


async def test_a_create_with_a_failing_start_keeps_the_container_as_created(client: Client) -> None:
    if client.service.backend == "process":
        pytest.skip("a process that runs Python can always be started")
    answer = await client.ask(
        "create_container",
        image=client.service.image,
        name="no-start",
        command=["/no/such/program"],
        start=True,
    )
    check(answer, "docker_api_error", "create_container")
    listed = await client.ask("list_containers")
    assert [c["status"] for c in listed["containers"]] == ["created"]
    client._made.append("no-start")


async def test_a_flow_that_is_not_connected(client: Client) -> None:
    key = await client.create(command=client.service.command("-c", "import time; time.sleep(60)"))
    message = {"command": "x"}
    answer = await client.ask("send_message", container_id=key, message=message)
    check(answer, "socket_connection_error", "send_message", container_id=key)
    await client.ask("start_container", container_id=key)
    with anyio.fail_after(5):
        answer = await client.ask("send_message", container_id=key, message=message, reply=True)
    check(answer, "socket_connection_error", "send_message", container_id=key)


async def test_an_answer_too_late_leaves_the_channel_usable(client: Client, code: Path) -> None:
    key = await client.running(code_path=str(code))
    answer = await client.ask(
        "send_message",
        container_id=key,
        message={"command": "silence"},
        reply=True,
        timeout=0.2,
    )
    assert "0.2 s" in check(answer, "socket_timeout_error", "send_message", container_id=key)
    assert await client.question(key, "echo", "fine") == "fine"


async def test_a_flow_that_dies_fails_its_waiter_at_once(client: Client, code: Path) -> None:
    key = await client.running(code_path=str(code))
    with anyio.fail_after(10):
        answer = await client.ask(
            "send_message",
            container_id=key,
            message={"command": "exit", "data": 1},
            reply=True,
            timeout=600,
        )
    check(answer, "socket_connection_error", "send_message", container_id=key)


async def test_a_message_over_the_frame_limit(client: Client, code: Path) -> None:
    key = await client.running(code_path=str(code))
    message = {"command": "x", "data": "x" * (1024 * 1024)}
    answer = await client.ask("send_message", container_id=key, message=message)
    assert "over the limit" in check(answer, "socket_error", "send_message", container_id=key)
    assert await client.question(key, "echo", 1) == 1


async def test_an_update_without_a_usable_folder(client: Client, code: Path) -> None:
    key = await client.running(code_path=str(code))
    empty = code.parent / "empty"
    empty.mkdir(exist_ok=True)
    odd = code.parent / "odd"
    odd.mkdir(exist_ok=True)
    if not (odd / "pipe").exists():
        os.mkfifo(odd / "pipe")
    for path in (code / "missing", code / "flow.py", empty, odd, Path("/etc"), Path("/")):
        answer = await client.ask("update_container", container_id=key, code_path=str(path))
        check(answer, "validation_error", "update_container", container_id=key)
        assert answer["details"]["errors"][0]["field"] == "code_path"
    assert await client.question(key, "echo", "untouched") == "untouched"


async def test_an_update_of_a_container_without_code(client: Client, code: Path) -> None:
    key = await client.create(command=client.service.command("-V"))
    answer = await client.ask("update_container", container_id=key, code_path=str(code))
    check(answer, "validation_error", "update_container", container_id=key)


@pytest.mark.parametrize("fault", ["raise SystemExit(5)", "import time; time.sleep(60)"])
async def test_new_code_that_does_not_come_to_life_is_taken_back(
    client: Client, code: Path, fault: str
) -> None:
    (code / "old-only.txt").write_text("old")
    key = await client.running(code_path=str(code))
    (code / "flow.py").write_text(fault)
    (code / "old-only.txt").unlink()
    answer = await client.ask("update_container", container_id=key, code_path=str(code))
    message = check(answer, "docker_api_error", "update_container", container_id=key)
    assert "the old code was put back and runs again" in message
    assert ("exit code 5" in message) == ("Exit" in fault)
    with anyio.fail_after(10):
        while not (await client.ask("get_container_status", container_id=key))["socket_connected"]:
            await anyio.sleep(0.02)
    info = await client.question(key, "info")
    assert info["version"] == 1
    assert "old-only.txt" in info["files"]
    assert client.told("recovery_scheduled") == []


async def test_an_update_replaces_the_folder_and_keeps_everything_else(
    client: Client, code: Path, tmp_path: Path
) -> None:
    (code / "gone.py").write_text("")
    (code / "sub").mkdir()
    (code / "sub" / "gone.py").write_text("")
    key = await client.running(code_path=str(code), name="kept")
    kept = str(tmp_path / "kept") if client.service.backend == "process" else "/var/kept"
    await client.question(key, "write", {"path": kept, "text": "kept"})
    (code / "gone.py").unlink()
    (code / "sub" / "gone.py").unlink()
    (code / "sub").rmdir()
    (code / "new.py").write_text("")
    await client.ask("update_container", container_id=key, code_path=str(code))
    info = await client.question(key, "info")
    assert info["files"] == sorted(os.listdir(code))
    await client.question(key, "write", {"path": kept + "2", "text": "x"})
    status = await client.ask("get_container_status", container_id="kept")
    assert status["container_id"] == key


@pytest.mark.docker
async def test_a_port_that_is_already_allocated(client: Client, service: Service) -> None:
    if service.backend == "process":
        answer = await client.ask("create_container", image="python", ports={"80": 8000})
        check(answer, "validation_error", "create_container")
        assert [e["field"] for e in answer["details"]["errors"]] == ["ports"]
        return
    sleeper = {"command": service.command("-c", "import time; time.sleep(60)"), "stop_timeout": 0}
    first = await client.create(ports={"8080": 0, "53/udp": 0}, start=True, **sleeper)
    listed = await client.ask("list_containers")
    ports = listed["containers"][0]["ports"]
    assert set(ports) == {"8080", "53/udp"}
    assert all(port > 0 for port in ports.values())
    second = await client.create(ports={"8080": ports["8080"]}, **sleeper)
    answer = await client.ask("start_container", container_id=second)
    assert "port is already allocated" in check(answer, "docker_api_error", "start_container")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        third = await client.create(ports={"8080": taken.getsockname()[1]}, **sleeper)
        answer = await client.ask("start_container", container_id=third)
        assert "port is already allocated" in check(answer, "docker_api_error", "start_container")
    for key in (second, third):
        status = await client.ask("get_container_status", container_id=key)
        assert status["state"] == "created"
    assert (await client.ask("get_container_status", container_id=first))["state"] == "running"


@pytest.mark.docker
async def test_containers_of_others_cannot_be_seen_or_touched(
    client: Client, service: Service
) -> None:
    if service.backend == "process":
        pytest.skip("there are no others in the process backend")
    docker = pytest.importorskip("docker")
    engine = docker.APIClient(base_url=service.engine, version="auto")
    other = engine.create_container(service.image, ["python3", "-V"], name="not-ours")
    try:
        for ref in (other["Id"], other["Id"][:12], "not-ours"):
            answer = await client.ask("delete_container", container_id=ref)
            check(answer, "container_not_found", "delete_container")
        assert (await client.ask("list_containers"))["count"] == 0
        answer = await client.ask(
            "create_container", image=service.image, name="not-ours", command=["python3"]
        )
        assert "in use" in check(answer, "docker_api_error", "create_container")
    finally:
        engine.remove_container(other["Id"])
        engine.close()


async def outside(call: Callable[..., object], *args: object, **options: object) -> None:
    await anyio.to_thread.run_sync(partial(call, *args, **options))


@pytest.mark.docker
async def test_what_is_done_to_a_container_from_outside_is_told(
    client: Client, service: Service, code: Path
) -> None:
    if service.backend == "process":
        pytest.skip("there is no outside in the process backend")
    docker = pytest.importorskip("docker")
    engine = docker.APIClient(base_url=service.engine, version="auto")
    try:
        key = await client.running(code_path=str(code), restart={"policy": "on-crash"})
        await outside(engine.stop, key, timeout=5)
        await client.event("status_changed", container_id=key, new_state="stopped")
        mark = len(client.events)
        await outside(engine.start, key)
        await client.event("socket_connected", since=mark, container_id=key)
        await outside(engine.kill, key, signal="TERM")
        await client.event("status_changed", since=mark, container_id=key, new_state="stopped")
        assert client.told("container_crashed", "recovery_scheduled") == []
        mark = len(client.events)
        await outside(engine.start, key)
        await client.event("socket_connected", since=mark, container_id=key)
        await outside(engine.kill, key, signal="KILL")
        crash = await client.event("container_crashed", since=mark, container_id=key)
        assert crash["crash_details"]["signal"] == "SIGKILL"
        await client.event("container_recovered", since=mark, container_id=key)
        await outside(engine.remove_container, key, force=True)
        await client.event("status_changed", container_id=key, new_state="removing")
        answer = await client.ask("start_container", container_id=key)
        check(answer, "container_not_found", "start_container")
        client._made.remove(key)
        with anyio.fail_after(5):
            while list(service.socket_dir.iterdir()):
                await anyio.sleep(0.02)
    finally:
        engine.close()


@pytest.mark.docker
async def test_a_container_killed_for_memory_is_a_crash_that_says_so(
    client: Client, service: Service
) -> None:
    if service.backend == "process":
        pytest.skip("the process backend has no limits")
    eater = "b = []\nwhile True: b.append(bytearray(1 << 20))"
    key = await client.create(
        command=service.command("-c", eater), resources={"memory": 32 << 20}, start=True
    )
    crash = await client.event("container_crashed", container_id=key)
    assert crash["crash_details"]["oom_killed"] is True
    assert crash["exit_code"] == 128 + signal.SIGKILL


BAD_PAYLOADS: list[Any] = [None, [], ["x"], "text", 7, True]


@pytest.mark.parametrize("payload", BAD_PAYLOADS)
async def test_a_payload_that_is_no_object(client: Client, payload: Any) -> None:
    answer = await client.ask_raw("create_container", payload)
    check(answer, "validation_error", "create_container")
    assert answer["details"]["errors"][0]["field"] == "payload"


async def test_all_faults_of_a_payload_at_once_and_nothing_changed(client: Client) -> None:
    answer = await client.ask(
        "create_container",
        image="",
        name="../../etc/passwd",
        environment={"A=B": "x"},
        ports={"80": 65536},
        volumes={"relative": "/x"},
        colour="blue",
        request_id="bad-1",
    )
    check(answer, "validation_error", "create_container", request_id="bad-1")
    fields = {fault["field"] for fault in answer["details"]["errors"]}
    assert fields == {
        *("image", "name", "environment.A=...", "ports.80", "volumes.relative", "colour"),
    }
    assert (await client.ask("list_containers"))["count"] == 0


async def test_an_unknown_operation(client: Client) -> None:
    answer = await client.ask("format_disk", container_id="x")
    check(answer, "validation_error", "format_disk")


async def test_volumes_outside_the_allowed_roots(client: Client, service: Service) -> None:
    if service.backend == "process":
        pytest.skip("the process backend has no volumes")
    link = service.root / "link-out"
    if not link.exists():
        link.symlink_to("/usr")
    for source in ("/", "/etc", "/proc", "/usr", str(link), "/var/run/docker.sock"):
        answer = await client.ask(
            "create_container", image=service.image, volumes={source: "/mnt/x"}
        )
        check(answer, "validation_error", "create_container")
    inside = service.root / "inside"
    inside.mkdir(exist_ok=True)
    answer = await client.ask(
        "create_container", image=service.image, volumes={str(inside): "/run/flow/x"}
    )
    check(answer, "validation_error", "create_container")
    key = await client.running(
        volumes={str(inside): {"bind": "/mnt/x", "mode": "rw"}},
        code_path=str(_code(service.root)),
    )
    await client.question(key, "write", {"path": "/mnt/x/file", "text": "through"})
    assert (inside / "file").read_text() == "through"


def _code(root: Path) -> Path:
    folder = root / "mounted-code"
    folder.mkdir(exist_ok=True)
    source = Path(__file__).parent / "flows" / "flow.py"
    (folder / "flow.py").write_text(source.read_text())
    return folder


async def test_no_secret_is_in_the_log(client: Client, service: Service) -> None:
    await client.create(environment={"PASSWORD": "canary-value-1"})
    answer = await client.ask(
        "create_container", image="no-such", environment={"PASSWORD": "canary-value-2"}
    )
    assert "canary" not in str(answer)
    log = "\n".join(service.lines)
    assert "canary-value" not in log
    assert service.token not in log
    assert "[INFO] Container operation: create, container_id=" in log
    assert "[ERROR] Operation: create_container, error=" in log
