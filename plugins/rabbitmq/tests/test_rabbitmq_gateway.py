"""What a manager may do to the frontend: hang, fail, say what is no JSON, lose events."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from attrs import define

from flow_manager_core.bus import EventBus
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import Event, ManagerStopping, StatusChanged
from flow_manager_core.log import get_log
from flow_manager_core.models import Answer, Client, ContainerState
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_core.wire import event_body, standard_format
from flow_manager_rabbitmq import RabbitMQSettings
from flow_manager_rabbitmq.frontend import serve
from plugins.rabbitmq.tests.amqp_client import amqp_client

pytestmark = pytest.mark.anyio


@define
class AwkwardGateway:
    """A manager whose operations are all awkward, and whose subscribers may have five events."""

    version = "1.2.3"
    backend_name = "awkward"
    bus: EventBus
    asked: list[str]

    def session(self, client: Client) -> AwkwardGateway:
        assert client.frontend == "rabbitmq"
        return self

    async def answer(self, name: str, payload: object) -> Answer:
        self.asked.append(name)
        if name == "hang":
            await anyio.sleep_forever()
        if name == "blow_up":
            raise RuntimeError("its own fault")
        return Answer("said", {"body": object()} if name == "say_nothing" else {"a": 1})

    def news(self) -> list[Event]:
        return []

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Any]:
        with self.bus.subscribe() as subscription:
            yield subscription

    def event_body(self, event: Event) -> Mapping[str, Any]:
        return event_body(event)

    def error_body(self, error: FlowManagerError) -> Mapping[str, Any]:
        return standard_format(error, datetime.now(UTC))

    async def health(self) -> Mapping[str, Any]:
        return {"status": "healthy"}


@pytest.fixture
def gateway() -> AwkwardGateway:
    return AwkwardGateway(EventBus(limit=5), [])


@pytest.fixture
def serving(rabbitmq: Any, instance: str, gateway: AwkwardGateway) -> Any:
    def start() -> AbstractAsyncContextManager[Any]:
        settings, core = RabbitMQSettings(url=rabbitmq.url), Settings(instance=instance)
        return serve(ProviderContext(settings, core, get_log("rabbitmq")), gateway)

    return start


def moved(number: int) -> StatusChanged:
    created, running = ContainerState.CREATED, ContainerState.RUNNING
    return StatusChanged(container_id=f"{number:012}", old_state=created, new_state=running)


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
        assert (client.answered[0].type, told["error_type"]) == ("error", "system_error")
        assert told["details"]["retryable"] is True
        assert told["details"]["request_id"] == "mine"
        queue = await client.channel.declare_queue(client.commands, passive=True)
        assert queue.declaration_result.message_count == 0


@pytest.mark.parametrize("name", ["blow_up", "say_nothing"])
async def test_a_fault_of_the_manager_is_answered_as_such(
    rabbitmq: Any, instance: str, serving: Any, name: str
) -> None:
    async with serving(), amqp_client(rabbitmq.url, instance) as client:
        event, body = await client.request(name, {})
        assert (event, body["error_type"]) == ("error", "system_error")
        assert await client.request("anything", {}) == ("said", {"a": 1})


async def test_events_lost_on_the_bus_are_told_and_the_next_ones_come(
    rabbitmq: Any, instance: str, serving: Any, gateway: AwkwardGateway
) -> None:
    async with serving(), amqp_client(rabbitmq.url, instance) as client:
        gateway.bus.publish(*(moved(number) for number in range(6)))
        await client.until(lambda: client.bodies("error"))
        gateway.bus.publish(moved(7))
        await client.until(lambda: client.bodies("status_changed"))
        assert [m.routing_key for m in client.heard] == ["event.error", "event.status_changed"]


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
