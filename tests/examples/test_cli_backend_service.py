"""The example of a third-party plugin, installed, under the real service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.examples.conftest import EXAMPLES

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

FLOW = Path(__file__).parents[1] / "e2e/flows/flow.py"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The Socket.IO client is asyncio's."""
    return "asyncio"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example in it, as pip leaves it."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder, EXAMPLES / "cli_backend"], check=True)
    return folder


@pytest.fixture
def service(
    docker_engine: Any, flow_image: str, installed: Path, tmp_path: Path
) -> Iterator[Service]:
    with Service(
        tmp_path, "engine_cli", flow_image, docker_engine.url, PYTHONPATH=str(installed)
    ) as running:
        yield running
    print(*running.lines, sep="\n")


async def test_a_flow_lives_talks_crashes_and_recovers_on_it(service: Service) -> None:
    command = service.command("-c", FLOW.read_text())
    async with Client(service) as client:
        key = await client.running(command=command, restart={"policy": "on-crash"})
        assert await client.question(key, "echo", {"n": 1}) == {"n": 1}
        await client.say(key, "exit", 3)
        crash = await client.event("container_crashed", container_id=key)
        assert crash["exit_code"] == 3
        assert "leaving with 3" in crash["crash_details"]["logs"]
        await client.event("container_recovered", container_id=key, attempt=1)
        await client.event("socket_connected", container_id=key, reconnected=True)
        assert await client.question(key, "echo", "back") == "back"
        stopped = await client.ask("stop_container", container_id=key)
        assert stopped["status"] == "stopped"
    assert client.told("container_crashed", "error") == ["container_crashed"]


async def test_what_it_cannot_do_is_refused_by_name(service: Service) -> None:
    async with Client(service) as client:
        answer = await client.ask(
            "create_container", image=service.image, code_path=str(service.root), ports={"80": 0}
        )
    faults = {fault["field"] for fault in answer["details"]["errors"]}
    assert faults == {"code_path", "ports"}
