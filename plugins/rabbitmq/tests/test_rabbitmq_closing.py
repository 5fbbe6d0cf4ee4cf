"""What becomes of commands in the queue when the manager closes."""

from __future__ import annotations

import json
import time
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from flow_manager_core.events import ManagerStopping
from flow_manager_core.log import get_log
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_core.testing.frontend_cases.awkward import AwkwardGateway
from flow_manager_rabbitmq import RabbitMQSettings
from flow_manager_rabbitmq.frontend import serve
from plugins.rabbitmq.tests.amqp_client import amqp_client

pytestmark = pytest.mark.anyio


@pytest.fixture
def gateway() -> AwkwardGateway:
    return AwkwardGateway()


@pytest.fixture
def serving(rabbitmq: Any, instance: str, gateway: AwkwardGateway) -> Any:
    def start() -> AbstractAsyncContextManager[Any]:
        settings, core = RabbitMQSettings(url=rabbitmq.url), Settings(instance=instance)
        return serve(ProviderContext(settings, core, get_log("rabbitmq")), gateway)

    return start


async def test_a_close_fails_what_hangs_by_name_within_two_seconds(
    rabbitmq: Any, instance: str, serving: Any, gateway: AwkwardGateway
) -> None:
    async with amqp_client(rabbitmq.url, instance) as client:
        async with serving():
            await client.send("hang", b"{}", reply_to=client.answers.name, message_id="mine")
            await client.until(lambda: gateway.asked)
            begun = time.monotonic()
        assert time.monotonic() - begun < 2
        await client.until(lambda: client.answered)
        told = json.loads(client.answered[0].body)
        assert (client.answered[0].type, told["oops"]) == ("error", "system_error")
        assert told["about"]["request_id"] == "mine"
        queue = await client.channel.declare_queue(client.commands, passive=True)
        assert queue.declaration_result.message_count == 0


async def test_once_the_manager_closes_commands_wait_for_its_next_life(
    rabbitmq: Any, instance: str, serving: Any, gateway: AwkwardGateway
) -> None:
    async with amqp_client(rabbitmq.url, instance) as client:
        async with serving():
            gateway.bus.publish(ManagerStopping(container_id="", reason="test"))
            await client.until(lambda: client.bodies("manager_stopping"))
            with anyio.fail_after(10):
                while await consumers(client):
                    await anyio.sleep(0.01)
            await client.send("late", b"{}", reply_to=client.answers.name)
        assert not gateway.asked
        async with serving():
            await client.until(lambda: client.answered)
        assert (client.answered[0].type, gateway.asked) == ("said", ["late"])


async def consumers(client: Any) -> int:
    queue = await client.channel.declare_queue(client.commands, passive=True)
    return int(queue.declaration_result.consumer_count)
