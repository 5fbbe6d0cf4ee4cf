"""SIGTERM: what is under way is answered, then the service ends."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio

#: Hears SIGTERM, says so, and runs on.
DEAF = """
import signal, time
signal.signal(15, lambda *_: print("asked", flush=True))
print("ready", flush=True)
while True:
    time.sleep(60)
"""


async def test_requests_under_way_are_answered_before_the_service_ends(
    service: Service, code: Any
) -> None:
    answers: list[Any] = []
    async with Client(service) as client:
        stubborn = service.command(
            "-c",
            "import signal, time; signal.signal(15, lambda *_: time.sleep(60)); time.sleep(60)",
        )
        key = await client.create(command=stubborn, start=True)
        talker = await client.running(code_path=str(code))
        client._made.clear()

        async def stop() -> None:
            payload = {"container_id": key, "timeout": 1}
            answers.append(await client.io.call("stop_container", payload, timeout=30))

        async def ask() -> None:
            question = {
                "container_id": talker,
                "message": {"command": "silence"},
                "reply": True,
                "timeout": 600,
            }
            answers.append(await client.io.call("send_message", question, timeout=30))

        began = time.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(stop)
            group.start_soon(ask)
            await client.event("status_changed", container_id=key, new_state="running")
            with anyio.fail_after(10):
                while not any("Socket communication: sent" in line for line in service.lines):
                    await anyio.sleep(0.01)
            assert await anyio.to_thread.run_sync(service.stop) == 0
        assert time.monotonic() - began < 10
    by_kind = {bool(answer.get("error")): answer for answer in answers}
    assert by_kind[False] == {"container_id": key, "status": "stopped"}
    assert by_kind[True]["error_type"] == "system_error"
    assert by_kind[True]["details"]["retryable"] is True
    await anyio.to_thread.run_sync(service.start)
    async with Client(service) as client:
        for container_id in (key, talker):
            await client.ask("delete_container", container_id=container_id)


async def test_a_call_that_hangs_does_not_keep_the_service(service: Service) -> None:
    answers: list[Any] = []
    async with Client(service) as client:
        key = await client.create(command=service.command("-c", DEAF), start=True)
        client._made.clear()
        await _printed(client, key, "ready")

        async def stop() -> None:
            payload = {"container_id": key, "timeout": 60}
            answers.append(await client.io.call("stop_container", payload, timeout=30))

        async with anyio.create_task_group() as group:
            group.start_soon(stop)
            async with Client(service) as other:
                await _printed(other, key, "asked")
            began = time.monotonic()
            assert await anyio.to_thread.run_sync(service.stop) == 0
            assert time.monotonic() - began < 10
    assert answers[0]["error_type"] == "system_error"
    await anyio.to_thread.run_sync(service.start)
    async with Client(service) as client:
        await client.ask("delete_container", container_id=key)


async def _printed(client: Client, container_id: str, line: str) -> None:
    """Wait until a flow has printed a line; by a client that has nothing else under way."""
    with anyio.fail_after(10):
        while True:
            logs = await client.ask("get_container_logs", container_id=container_id)
            if line in {entry["line"] for entry in logs["lines"]}:
                return
