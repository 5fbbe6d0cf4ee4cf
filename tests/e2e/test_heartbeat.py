"""A frozen flow is noticed by its silence, and is back when it thaws."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio

FLOW = """
import os
from flow_manager_sdk import Flow

flow = Flow()
flow.on("pid")(lambda _: os.getpid())
flow.run()
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: Any) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("heartbeat")
    with Service(root, "process", "python", "", FLOW_MANAGER_HEARTBEAT_INTERVAL="0.3") as running:
        yield running


@pytest.fixture
def code(service: Service) -> Path:
    folder = service.root / "code"
    folder.mkdir()
    (folder / "flow.py").write_text(FLOW)
    return folder


async def test_a_frozen_flow_is_disconnected_told_of_and_taken_back(
    client: Client, code: Path
) -> None:
    key = await client.running(code_path=str(code), restart={"policy": "on-crash"})
    pid = await client.question(key, "pid")
    os.kill(pid, signal.SIGSTOP)
    try:
        down = await client.event("socket_disconnected", container_id=key)
        assert down["reason"] == "no sign of life for 0.9 s"
        answer = await client.say(key, "pid")
        assert answer["error_type"] == "socket_connection_error"
        status = await client.ask("get_container_status", container_id=key)
        assert (status["state"], status["socket_connected"]) == ("running", False)
    finally:
        os.kill(pid, signal.SIGCONT)
    await client.event("socket_connected", container_id=key, reconnected=True)
    assert await client.question(key, "pid") == pid
    assert client.told("container_crashed", "message_received", "recovery_scheduled") == []
    assert len(client.told("socket_connected", "socket_disconnected")) == 3
