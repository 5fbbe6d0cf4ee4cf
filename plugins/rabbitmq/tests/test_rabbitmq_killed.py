"""The real service is killed with commands in flight: its next life gets them again."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from plugins.rabbitmq.tests.amqp_client import AmqpClient, amqp_client
from tests.e2e.service import Service
from tests.support.rabbitmq import RabbitMQ

pytestmark = pytest.mark.anyio

#: Says that it runs, and does not end when it is asked to.
STUBBORN = (
    "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
)
CREATE = {"image": "python", "command": ["-c", STUBBORN], "start": True, "stop_timeout": 0.5}
FAILPOINTS = Path(__file__).parents[3] / "tests" / "e2e" / "failpoint_service.py"


class DyingService(Service):
    """A service that dies where a file says."""

    program = ("-P", str(FAILPOINTS))

    def arm(self, step: int) -> None:
        """Die after this step of the next operation; 0: of none."""
        plan = self.root / "plan"
        fresh = plan.with_suffix(".new")
        fresh.write_text(json.dumps({"step": step, "edge": "after", "run": step}))
        fresh.rename(plan)

    def steps(self) -> list[str]:
        """The steps so far."""
        return [line.partition(" ")[2] for line in (self.root / "trace").read_text().splitlines()]

    async def died(self) -> None:
        """Wait for the end, and start the next life."""
        assert self.process is not None
        await to_thread.run_sync(self.process.wait, 30)
        await to_thread.run_sync(self.stop, signal.SIGKILL)
        (self.root / "plan").unlink(missing_ok=True)
        await to_thread.run_sync(self.start)


@pytest.fixture
def service(rabbitmq: RabbitMQ, tmp_path: Path, instance: str) -> Iterator[DyingService]:
    made = DyingService(
        tmp_path,
        "process",
        "python",
        "",
        FLOW_MANAGER_FRONTENDS="rabbitmq,socketio",
        FLOW_MANAGER_RABBITMQ_URL=rabbitmq.url,
        FLOW_MANAGER_RABBITMQ_COMMANDS_QUEUE=f"flow-manager.{instance}.commands",
        FLOW_MANAGER_RABBITMQ_EVENTS_EXCHANGE=f"flow-manager.{instance}.events",
        FAILPOINT_PLAN=str(tmp_path / "plan"),
        FAILPOINT_TRACE=str(tmp_path / "trace"),
    )
    with made as running:
        yield running


@pytest.fixture
async def client(
    rabbitmq: RabbitMQ, service: DyingService, instance: str
) -> AsyncIterator[AmqpClient]:
    async with amqp_client(rabbitmq.url, instance) as connected:
        yield connected
        _, listed = await connected.request("list_containers", {})
        for container in listed["containers"]:
            await connected.request("delete_container", {"container_id": container["id"]})


async def test_a_create_in_flight_makes_one_container_and_is_answered_once(
    service: DyingService, client: AmqpClient
) -> None:
    service.arm(0)
    await client.request("create_container", CREATE)
    step = service.steps().index("backend.create") + 1
    service.arm(step)
    body = json.dumps(CREATE).encode()
    await client.send(
        "create_container",
        body,
        message_id="the one",
        reply_to=client.answers.name,
        correlation_id="late",
        delivery_mode=2,
    )
    await service.died()
    await client.until(lambda: [m for m in client.answered if m.correlation_id == "late"])
    _, listed = await client.request("list_containers", {})
    assert listed["count"] == 2
    [answer] = [m for m in client.answered if m.correlation_id == "late"]
    made = json.loads(answer.body)
    assert (answer.type, made["request_id"]) == ("container_created", "the one")
    assert made["container_id"] in [c["id"] for c in listed["containers"]]


async def test_a_stop_in_flight_is_answered_by_the_next_life(
    service: DyingService, client: AmqpClient
) -> None:
    _, made = await client.request("create_container", CREATE)
    about = {"container_id": made["container_id"]}
    await ready(client, about)
    stop: dict[str, Any] = {"reply_to": client.answers.name, "correlation_id": "stop"}
    await client.send("stop_container", json.dumps({**about, "timeout": 3}).encode(), **stop)
    await client.request("list_containers", {})  # taken after the stop was
    await to_thread.run_sync(service.stop, signal.SIGKILL)
    assert not [m for m in client.answered if m.correlation_id == "stop"]
    await to_thread.run_sync(service.start)
    await client.until(lambda: [m for m in client.answered if m.correlation_id == "stop"])
    [answer] = [m for m in client.answered if m.correlation_id == "stop"]
    assert (answer.type, json.loads(answer.body)["status"]) == ("container_stopped", "stopped")


async def ready(client: AmqpClient, about: dict[str, Any]) -> None:
    while True:
        _, logs = await client.request("get_container_logs", about)
        if any(line["line"] == "ready" for line in logs["lines"]):
            return
