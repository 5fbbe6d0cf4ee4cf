"""What a client of the broker can do, and what it is told."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import aio_pika
import anyio
import pytest

from flow_manager_core.models import Role
from plugins.rabbitmq.tests.amqp_client import amqp_client

pytestmark = pytest.mark.anyio

README = Path(__file__).parents[1] / "README.md"
CREATE = {"image": "memory", "name": "one"}


async def test_a_whole_life_over_the_queue(rabbitmq: Any, managing: Any, instance: str) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        event, made = await client.request("create_container", CREATE)
        assert (event, made["name"]) == ("container_created", "one")
        about = {"container_id": made["container_id"]}
        for step, status in (("start", "running"), ("stop", "stopped"), ("delete", "deleted")):
            event, body = await client.request(f"{step}_container", about)
            assert body["status"] == status
        await client.until(lambda: len(client.bodies("status_changed")) == 3)
        moves = [body["new_state"] for body in client.bodies("status_changed")]
        assert moves == ["running", "stopped", "removing"]


async def test_commands_go_no_further_than_the_role_of_the_settings(
    rabbitmq: Any, managing: Any, instance: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "flow_manager")
    async with (
        managing(role=Role.OPERATE) as manager,
        amqp_client(rabbitmq.url, instance) as client,
    ):
        event, refused = await client.request("create_container", CREATE)
        assert (event, refused["details"]["required_role"]) == ("error", "admin")
        assert (await client.request("list_containers", {}))[1]["count"] == 0
        about = {"container_id": (await manager.execute("create_container", CREATE))["name"]}
        assert (await client.request("start_container", about))[1]["status"] == "running"
        event, refused = await client.request("delete_container", about)
        assert (event, refused["details"]["required_role"]) == ("error", "admin")
        assert (await client.request("get_container_status", about))[1]["state"] == "running"
    lines = [r.getMessage() for r in caplog.records if "operation: start" in r.getMessage()]
    assert ["by=rabbitmq" in line for line in lines] == [True]


async def test_an_answer_carries_what_the_readme_says(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        for mode in aio_pika.DeliveryMode:
            answer = await client.command(
                "list_containers", b"{}", delivery_mode=mode, message_id=f"ask-{mode}"
            )
            assert (answer.type, answer.content_type) == ("container_list", "application/json")
            assert answer.delivery_mode == mode
            assert json.loads(answer.body)["request_id"] == f"ask-{mode}"
            assert answer.timestamp is not None


async def test_an_event_carries_its_name_and_container(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing() as manager, amqp_client(rabbitmq.url, instance) as client:
        made = await manager.execute("create_container", {**CREATE, "start": True})
        await client.until(lambda: client.bodies("status_changed"))
        [message] = [m for m in client.heard if m.type == "status_changed"]
        assert message.routing_key == "event.status_changed"
        assert message.headers == {"container_id": made["container_id"]}
        assert message.content_type == "application/json"
        assert message.delivery_mode == aio_pika.DeliveryMode.NOT_PERSISTENT
        assert json.loads(message.body)["container_id"] == made["container_id"]


async def test_a_client_hears_what_it_bound_and_nothing_else(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with (
        managing() as manager,
        amqp_client(rabbitmq.url, instance, "event.container_crashed") as chosen,
        amqp_client(rabbitmq.url, instance) as everything,
    ):
        await manager.execute(
            "create_container", {**CREATE, "command": ["exit", "3"], "start": True}
        )
        await chosen.until(lambda: chosen.heard)
        await everything.until(lambda: len(everything.bodies("activity_log")) >= 5)
        assert {m.type for m in chosen.heard} == {"container_crashed"}
        assert {"status_changed", "activity_log"} < {m.type for m in everything.heard}


async def test_a_create_sent_twice_under_one_message_id_makes_one_container(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing() as manager, amqp_client(rabbitmq.url, instance) as client:
        body = json.dumps({"image": "memory"}).encode()
        answers = [
            await client.command("create_container", body, message_id="once") for _ in range(2)
        ]
        assert answers[0].body == answers[1].body
        assert (await manager.execute("list_containers", {}))["count"] == 1


async def test_the_payloads_own_request_id_wins(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        body = b'{"request_id": "mine"}'
        answer = await client.command("list_containers", body, message_id="the message's")
        assert json.loads(answer.body)["request_id"] == "mine"


async def test_a_command_without_reply_to_is_carried_out_all_the_same(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        await client.send("create_container", json.dumps({**CREATE, "start": True}).encode())
        await client.until(lambda: client.bodies("status_changed"))
        assert not client.answered


async def test_an_answer_that_nobody_waits_for_hurts_nobody(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        body = json.dumps(CREATE).encode()
        await client.send("create_container", body, reply_to="no such queue", correlation_id="?")
        await client.until(lambda: client.bodies("activity_log"))
        await queue_is_empty(client)
        event, listed = await client.request("list_containers", {})
        assert (event, listed["count"]) == ("container_list", 1)


async def test_direct_reply_to_needs_no_queue_of_the_clients_own(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        direct = await client.channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
        answers: asyncio.Queue[Any] = asyncio.Queue()
        await direct.consume(answers.put, no_ack=True)
        await client.send("list_containers", b"{}", reply_to="amq.rabbitmq.reply-to")
        with anyio.fail_after(10):
            assert (await answers.get()).type == "container_list"


async def test_commands_on_one_container_keep_the_queues_order(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with amqp_client(rabbitmq.url, instance) as client:
        commands = await client.channel.declare_queue(client.commands, durable=True)
        reply: dict[str, Any] = {"reply_to": client.answers.name}
        about = json.dumps({"container_id": "one"}).encode()
        await client.send("create_container", json.dumps(CREATE).encode(), **reply)
        for _ in range(20):
            await client.send("start_container", about, **reply)
            await client.send("stop_container", about, **reply)
        await client.send("delete_container", about, **reply)
        async with managing(prefetch=64):
            await client.until(lambda: len(client.answered) == 42)
        steps = ["container_created", *["container_started", "container_stopped"] * 20]
        assert [m.type for m in client.answered] == [*steps, "container_deleted"]
        assert commands.name == client.commands


async def test_at_most_so_many_commands_are_under_way_as_prefetch_says(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    stop = {"timeout": 600}
    impatient = managing(prefetch=2, core={"shutdown_timeout": 0.1})
    async with impatient as manager, amqp_client(rabbitmq.url, instance) as client:
        for name in ("a1", "b2"):
            stubborn = {"image": "memory", "name": name, "command": ["stubborn"], "start": True}
            await manager.execute("create_container", stubborn)
            body = json.dumps({"container_id": name, **stop}).encode()
            await client.send("stop_container", body)
        await client.send("create_container", json.dumps(CREATE).encode())
        queue = await client.channel.declare_queue(client.commands, passive=True)
        with anyio.fail_after(10):
            while queue.declaration_result.message_count != 1:
                await anyio.sleep(0.01)
                queue = await client.channel.declare_queue(client.commands, passive=True)
        assert (await manager.execute("list_containers", {}))["count"] == 2


async def test_a_queue_that_the_operator_made_is_used_as_it_is(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with amqp_client(rabbitmq.url, instance) as client:
        kind = {"x-queue-type": "quorum"}
        await client.channel.declare_queue(client.commands, durable=True, arguments=kind)
        async with managing():
            assert (await client.request("list_containers", {}))[0] == "container_list"


async def test_the_readmes_client_does_what_it_says(
    rabbitmq: Any, managing: Any, instance: str, tmp_path: Path
) -> None:
    [example] = re.findall(
        r"<!-- file: client.py -->\n```python\n(.*?)```", README.read_text(), re.S
    )
    script = tmp_path / "client.py"
    script.write_text(example)
    async with managing():
        command = [sys.executable, str(script), rabbitmq.url, instance, "memory"]
        found = await anyio.run_process(command, check=False, stderr=subprocess.STDOUT)
    lines = found.stdout.decode().splitlines()
    assert lines[0].startswith("container_created "), lines
    assert lines[1].endswith("created -> running"), lines


async def queue_is_empty(client: Any) -> None:
    """Wait until the broker holds no command, not even one that is not acknowledged."""
    with anyio.fail_after(10):
        while True:
            queue = await client.channel.declare_queue(client.commands, passive=True)
            if queue.declaration_result.message_count == 0:
                return
            await anyio.sleep(0.01)
