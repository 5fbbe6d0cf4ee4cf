"""The second recovery policy and the second error format, in the real service."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio

PROBLEM = "application/problem+json"
CRASHING = "raise SystemExit(3)"


@pytest.fixture(scope="module")
def service(tmp_path_factory: Any) -> Iterator[Service]:
    """The service with both."""
    settings = {
        "FLOW_MANAGER_RECOVERY": "intensity",
        "FLOW_MANAGER_INTENSITY_RESTARTS": "3",
        "FLOW_MANAGER_INTENSITY_WINDOW": "30",
        "FLOW_MANAGER_INTENSITY_DELAY": "0",
        "FLOW_MANAGER_ERROR_FORMAT": "problem",
    }
    root = tmp_path_factory.mktemp("second")
    with Service(root, "process", "python", "", **settings) as running:
        yield running


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with Client(service) as connected:
        yield connected


def is_problem(body: dict[str, Any], error_type: str, status: int) -> None:
    """Both faces of a body: RFC 9457's, and the contract's."""
    assert body["type"] == f"urn:flow-manager:error:{error_type}"
    assert body["title"]
    assert body["status"] == status
    assert body["detail"] == body["message"]
    assert (body["error"], body["error_type"]) == (True, error_type)
    assert body["details"]["hint"]


async def test_a_crash_loop_is_restarted_within_the_window_and_given_up_beyond_it(
    client: Client,
) -> None:
    key = await client.create(
        command=["-c", CRASHING], restart={"policy": "on-crash"}, name="loop", start=True
    )
    gave_up = await client.event("recovery_gave_up", container_id=key)
    assert gave_up["attempts"] == 3
    assert gave_up["reason"] == "4 ends within 30 s, 3 are allowed"
    scheduled = [body for name, body in client.events if name == "recovery_scheduled"]
    assert [(body["attempt"], body["delay"]) for body in scheduled] == [(1, 0), (2, 0), (3, 0)]
    assert client.told("container_crashed") == ["container_crashed"] * 4
    status = await client.ask("get_container_status", container_id=key)
    assert (status["state"], status["restarts"]) == ("exited", 3)


async def test_a_loop_that_is_slower_than_its_own_window_goes_on(client: Client) -> None:
    key = await client.create(
        command=["-c", f"import time; time.sleep(0.3); {CRASHING}"],
        restart={"policy": "on-crash", "max_attempts": 1, "stable_after": 0.25},
        name="slow",
        start=True,
    )
    with anyio.fail_after(20):
        while len([1 for name, _ in client.events if name == "container_recovered"]) < 3:
            await anyio.sleep(0.01)
    scheduled = [body for name, body in client.events if name == "recovery_scheduled"]
    assert {body["attempt"] for body in scheduled} == {1}
    assert not client.told("recovery_gave_up")
    assert not (await client.ask("stop_container", container_id=key)).get("error")


async def test_a_refused_request_is_answered_with_a_problem(client: Client) -> None:
    # `ask` checks that the acknowledgement and the `error` event are one.
    answer = await client.ask("start_container", container_id="abc123def456", request_id="a/b")
    is_problem(answer, "container_not_found", 404)
    assert answer["instance"] == "urn:flow-manager:request:a%2Fb"
    assert answer["details"]["container_id"] == "abc123def456"
    is_problem(await client.ask("create_container"), "validation_error", 422)


async def test_an_error_event_that_no_request_asked_for_and_the_flows_own_frame_are_problems(
    client: Client, service: Service
) -> None:
    key = await client.create(command=["-c", "import time; time.sleep(60)"], name="dumb")
    mark = len(client.events)
    with anyio.fail_after(10):
        body = await anyio.to_thread.run_sync(speak_badly, service.socket_dir / "dumb.sock")
    is_problem(body, "socket_error", 502)
    told = await client.event("error", since=mark)
    is_problem(told, "socket_error", 502)
    assert told["details"]["container_id"] == key


def speak_badly(path: Path) -> dict[str, Any]:
    """Send a frame that is no message, as a flow would; return what the error frame carries."""
    with socket.socket(socket.AF_UNIX) as channel, channel.makefile("rb") as reader:
        channel.settimeout(5)
        channel.connect(str(path))
        channel.sendall(struct.pack(">I", 7) + b"no JSON")
        (size,) = struct.unpack(">I", reader.read(4))
        message = json.loads(reader.read(size))
    assert message["command"] == "error"
    return dict(message["data"])


@pytest.mark.parametrize(
    ("path", "host", "status"), [("/nothing", None, 404), ("/health", "evil.example", 403)]
)
async def test_http_errors_are_problems_with_the_status_that_they_are_sent_with(
    service: Service, path: str, host: str | None, status: int
) -> None:
    headers = {"Host": host} if host else {}
    async with (
        aiohttp.ClientSession() as http,
        http.get(service.url + path, headers=headers) as response,
    ):
        assert (response.status, response.content_type) == (status, PROBLEM)
        is_problem(await response.json(content_type=PROBLEM), "validation_error", status)
