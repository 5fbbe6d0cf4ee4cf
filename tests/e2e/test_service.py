"""Running it: start, stop, come back, settings, log, and the commands of the README."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import anyio
import pytest
import socketio

from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.support.programs import program

pytestmark = pytest.mark.anyio
CLI = [sys.executable, "-m", "flow_manager_cli.main"]


def run(*command: str, timeout: float = 60, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def demo(*arguments: str, **environ: str) -> tuple[str, str]:
    """Run the demo, which leaves nothing of its own; others may run beside it."""
    command = [*CLI, "demo", *arguments]
    with program(command, env={**os.environ, **environ}) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert not list(Path("/tmp").glob(f"flow-manager-demo-{process.pid}-*"))
    return output, errors


async def test_a_restart_of_the_service_touches_no_flow(service: Service, code: Path) -> None:
    async with Client(service) as client:
        key = await client.running(code_path=str(code), name="survivor")
        before = await client.question(key, "info")
        client._made.clear()
    for number in (signal.SIGTERM, signal.SIGKILL):
        began = time.monotonic()
        code_at_end = await anyio.to_thread.run_sync(service.stop, number)
        assert code_at_end == (0 if number == signal.SIGTERM else -number)
        assert time.monotonic() - began < 10
        await anyio.to_thread.run_sync(service.start)
        async with Client(service) as client:
            with anyio.fail_after(20):
                while True:
                    status = await client.ask("get_container_status", container_id="survivor")
                    if status["socket_connected"]:
                        break
            assert status["state"] == "running"
            assert (await client.question(key, "info"))["pid"] == before["pid"]
            assert client.told("container_crashed") == []
    async with Client(service) as client:
        await client.ask("delete_container", container_id=key)
    assert not list(service.socket_dir.iterdir())


async def test_health_says_how_things_stand(service: Service) -> None:
    def get() -> tuple[int, Any]:
        asked = urllib.request.Request(service.url + "/health")
        asked.add_header("Authorization", f"Bearer {service.token}")
        with urllib.request.urlopen(asked, timeout=5) as response:
            return response.status, json.load(response)

    status, body = await anyio.to_thread.run_sync(get)
    assert status == 200
    assert body["status"] == "healthy"
    assert body["service"] == "flow-manager"
    assert body["socket_dir"] == str(service.socket_dir)
    assert body["components"]["backend"]["name"] == service.backend


@pytest.mark.parametrize("auth", [None, {}, {"token": "wrong"}, {"token": 7}, "text", ["x"]])
async def test_a_client_without_the_token_is_refused_by_the_standard_error(
    service: Service, auth: Any
) -> None:
    client = socketio.AsyncClient(reconnection=False)
    refused: list[Any] = []
    client.on("connect_error", refused.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(service.url, auth=auth)
    assert refused[0]["data"]["error"] is True
    await client.disconnect()


async def test_a_page_of_a_foreign_origin_is_refused(service: Service) -> None:
    def get() -> int:
        request = urllib.request.Request(
            service.url + "/socket.io/?EIO=4&transport=polling",
            headers={"Origin": "https://evil.example"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert await anyio.to_thread.run_sync(get) == 403


def test_settings_that_cannot_be_end_with_code_2_and_a_line_for_each(tmp_path: Path) -> None:
    config = tmp_path / "fm.toml"
    config.write_text('port = "x"\nlog_level = "loud"\nreconcile_interval = true\n')
    found = run(*CLI, "serve", "--config", str(config))
    assert found.returncode == 2
    lines = found.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("flow-manager: ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--backend", "dokcer"], "there is no backend named 'dokcer'"),
        (["--no-auth", "--host", "0.0.0.0"], "loopback"),
        (["--set", "transport=carrier_pigeon"], "installed: tcp, unix_socket"),
        (["--block", "unix_socket"], "unix_socket (flow-manager-unix-socket) is blocked"),
        (["--block", "socketio"], "socketio (flow-manager-socketio) is blocked"),
        (["--config", "/no/such/file"], "cannot be read"),
    ],
)
def test_a_start_that_is_refused_says_why_in_one_line(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    found = run(*CLI, "serve", "--port", "0", "--state-dir", str(tmp_path), *arguments)
    assert found.returncode == 2
    assert told in found.stderr
    assert "Traceback" not in found.stderr


def test_a_port_that_is_taken_is_named(service: Service, tmp_path: Path) -> None:
    port = service.url.rsplit(":", 1)[1]
    found = run(
        *[*CLI, "serve", "--backend", "process", "--port", port, "--state-dir", str(tmp_path)],
        SOCKET_DIR=str(tmp_path / "s"),
    )
    assert found.returncode == 2
    assert f"port: {port}" in found.stderr


def test_the_core_alone_serves_as_the_command_does(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flow_manager_core", "--port", "0", "--backend", "process"],
        cwd=tmp_path,
        env={
            **os.environ,
            "STATE_DIR": str(tmp_path / "state"),
            "SOCKET_DIR": str(tmp_path / "s"),
            "LOG_FORMAT": "json",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith("Connect: "):
            break
    process.terminate()
    assert process.wait(10) == 0
    process.stdout.close()
    token = (tmp_path / "state" / "token").read_text().strip()
    assert any(line.startswith("Token: " + token) for line in lines)
    log = (tmp_path / "flow-manager.log").read_text().splitlines()
    assert log
    for entry in map(json.loads, log):
        assert {"timestamp", "level", "logger", "event"} <= set(entry)
        assert token not in str(entry)


def test_the_demo_shows_the_main_job_and_leaves_nothing_behind() -> None:
    output, errors = demo("--backend", "process")
    steps = [line for line in output.splitlines() if line[:1].isdigit()]
    assert len(steps) == 6
    assert "Hello" in steps[2]
    assert "exit code 3" in steps[3]
    assert errors == ""


@pytest.mark.docker
def test_the_demo_on_a_real_engine(docker_engine: Any, flow_image: str) -> None:
    output, _ = demo("--backend", "docker", "--image", flow_image, DOCKER_HOST=docker_engine.url)
    assert "backend docker" in output


@pytest.mark.docker
def test_the_demo_falls_back_where_docker_has_no_image(docker_engine: Any) -> None:
    found = run(*CLI, "demo", DOCKER_HOST=docker_engine.url, timeout=120)
    assert found.returncode == 0, found.stderr
    if "backend docker" in found.stdout and "using child processes" not in found.stdout:
        assert "Hello" in found.stdout
    else:
        assert "backend process" in found.stdout


@pytest.mark.parametrize("blocked", ["backoff", "socketio", "docker"])
def test_the_demo_does_without_what_it_can_spare(blocked: str) -> None:
    found = run(*CLI, "demo", "--block", blocked, "--backend", "process")
    assert found.returncode == 0, found.stderr
    assert "nothing is left behind" in found.stdout


@pytest.mark.parametrize("blocked", ["unix_socket", "process"])
def test_the_demo_names_what_it_cannot_spare(blocked: str) -> None:
    found = run(*CLI, "demo", "--block", blocked, "--backend", "process")
    assert found.returncode == 2
    assert f"{blocked} (flow-manager-{blocked.replace('_', '-')}) is blocked" in found.stderr


def test_the_list_of_plugins_says_what_is_what() -> None:
    found = run(*CLI, "plugins", "--block", "docker")
    assert found.returncode == 0, found.stdout
    assert "docker  [blocked]  flow-manager-docker 0.1.0  (blocked by the settings)" in found.stdout
    assert "    backend process: " in found.stdout
