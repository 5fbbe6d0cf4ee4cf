"""The real service with flows that dial back over TCP: as processes, and from real containers."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio
SDK = Path(__file__).parents[2] / "sdk" / "flow_manager_sdk"

FLOW = """
import os
from flow_manager_sdk import Flow

flow = Flow()
flow.on("pid")(lambda _: os.getpid())
flow.on("address")(lambda _: os.environ["FLOW_SOCKET"])
flow.on("crash")(lambda code: os._exit(code))
flow.run()
"""


@pytest.fixture(
    scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)]
)
def service(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Service]:
    """The service on each backend, with this transport; its port is its own for all its lives."""
    environ = {"FLOW_MANAGER_TRANSPORT": "tcp", "FLOW_MANAGER_TCP_PORT": "0"}
    root = tmp_path_factory.mktemp("tcp")
    if request.param == "docker":
        engine = request.getfixturevalue("docker_engine")
        image = request.getfixturevalue("flow_image")
        environ["FLOW_MANAGER_TCP_HOST"] = engine.gateway()
        started = Service(root, "docker", image, engine.url, **environ)
    else:
        started = Service(root, "process", "python", "", **environ)
    with started as running:
        yield running


@pytest.fixture
def sdk_code(service: Service) -> Iterator[Path]:
    """A flow with the SDK beside it: images need nothing but Python."""
    folder = service.root / "sdk_code"
    shutil.copytree(SDK, folder / SDK.name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "flow.py").write_text(FLOW)
    yield folder
    shutil.rmtree(folder)


def secret_file(service: Service, name: str) -> Path:
    state = service._home / "state" / "instances" / service._home.name
    return state / "tcp" / f"{name}.secret"


async def test_a_flow_dials_back_comes_back_after_a_crash_and_leaves_no_secret(
    client: Client, service: Service, sdk_code: Path
) -> None:
    restart = {"policy": "on-crash"}
    key = await client.running(code_path=str(sdk_code), name="dialler", restart=restart)
    address = await client.question(key, "address")
    listed = (await client.ask("list_containers"))["containers"]
    assert [each["socket_path"] for each in listed] == [f"{address}#dialler"]
    secret = secret_file(service, "dialler").read_text().strip()
    assert len(secret) == 43

    await client.say(key, "crash", 3)
    await client.event("container_recovered", container_id=key)
    await client.event("socket_connected", container_id=key, reconnected=True)
    assert await client.question(key, "address") == address

    await client.ask("restart_container", container_id=key)
    with anyio.fail_after(20):
        while client.told("socket_connected") != ["socket_connected"] * 3:
            await anyio.sleep(0.01)
    assert await client.question(key, "address") == address

    await client.ask("delete_container", container_id=client._made.pop())
    assert not secret_file(service, "dialler").exists()
    told = "\n".join(service.lines) + str(client.events)
    assert secret not in told
    assert "refused" not in told


async def test_a_program_without_the_sdk_dials_back_as_well(
    client: Client, service: Service, code: Path
) -> None:
    key = await client.running(code_path=str(code))
    assert await client.question(key, "echo", "over TCP") == "over TCP"
    await client.say(key, "drop")
    await client.event("socket_connected", container_id=key, reconnected=True)
    assert await client.question(key, "echo", "again") == "again"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
async def test_flows_find_the_manager_in_its_next_life(
    service: Service, sdk_code: Path, number: signal.Signals
) -> None:
    async with Client(service) as client:
        keys = [await client.running(code_path=str(sdk_code)) for _ in range(3)]
        before = [await client.question(key, "pid") for key in keys]
        client._made.clear()
    await to_thread.run_sync(service.stop, number)
    await anyio.sleep(0.5)  # the flows dial in vain meanwhile
    await to_thread.run_sync(service.start)
    async with Client(service) as client:
        client._made.extend(keys)
        for key, pid in zip(keys, before, strict=True):
            with anyio.fail_after(20):
                while not await connected(client, key):
                    await anyio.sleep(0.02)
            assert await client.question(key, "pid") == pid
    assert "A connection was refused" not in "\n".join(service.lines)


async def connected(client: Client, key: str) -> bool:
    status = await client.ask("get_container_status", container_id=key)
    return bool(status["socket_connected"])


async def test_a_client_cannot_choose_a_flows_secret(
    client: Client, service: Service, code: Path
) -> None:
    answer = await client.ask(
        "create_container",
        image=service.image,
        command=service.command("flow.py"),
        environment={"FLOW_SECRET": "mine"},
    )
    assert answer["error_type"] == "validation_error"
    assert "FLOW_SECRET" in answer["message"]


def test_a_second_manager_on_the_same_port_is_refused_in_one_line(
    service: Service, tmp_path: Path
) -> None:
    port = secret_file(service, "any").with_name("port").read_text().strip()
    host = service._environ.get("FLOW_MANAGER_TCP_HOST", "127.0.0.1")
    found = subprocess.run(
        [
            *(sys.executable, "-m", "flow_manager_cli.main", "serve"),
            *("--backend", "process", "--port", "0", "--state-dir", str(tmp_path)),
            *("--set", "transport=tcp", "--set", f"tcp.host={host}", "--set", f"tcp.port={port}"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = f"tcp.port: {host}:{port} cannot be listened on: Address already in use"
    assert (found.returncode, found.stderr) == (2, f"flow-manager: {told}\n")
