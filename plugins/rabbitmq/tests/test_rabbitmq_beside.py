"""RabbitMQ and Socket.IO, of one manager at the same time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import socketio

from flow_manager_core.service import greeting
from flow_manager_socketio import plugin as socketio_plugin
from plugins.rabbitmq.tests.amqp_client import amqp_client

pytestmark = pytest.mark.anyio

CREATE = {"image": "memory", "name": "one"}


async def test_socketio_clients_hear_the_same_events_at_the_same_time(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    heard: list[tuple[str, Any]] = []
    sio = socketio.AsyncClient(reconnection=False)

    @sio.on("*")
    async def hear(name: str, body: Any) -> None:
        heard.append((name, body))

    beside = tuple(socketio_plugin.flow_manager_frontends())
    async with managing(beside=beside) as manager, amqp_client(rabbitmq.url, instance) as client:
        queue_address, web_address = manager.addresses
        assert client.commands in queue_address
        await sio.connect(web_address, auth={"token": "t"}, transports=["websocket"])
        await client.request("create_container", {**CREATE, "start": True})
        by_web = await sio.call("list_containers", {})
        _, by_queue = await client.request("list_containers", {})
        assert by_queue["containers"] == by_web["containers"]
        deleted = await sio.call("delete_container", {"container_id": "one"})
        key = deleted["container_id"]
        await client.until(lambda: "container_deleted" in str(client.heard[-1].body))
        told = [(str(m.type), json.loads(m.body)) for m in client.heard]

        def same() -> bool:
            events = {name for name, _ in told}
            found = [t for t in heard if t[0] in events and t[1]["container_id"] == key]
            return found == told

        await client.until(same)
        await sio.shutdown()
        await asyncio.sleep(0.02)


async def test_the_line_to_copy_into_a_client_names_the_web_address(managing: Any) -> None:
    beside = tuple(socketio_plugin.flow_manager_frontends())
    for frontends, count in ((beside, 1), ((), 0)):
        async with managing(beside=frontends) as manager:
            lines = greeting(manager, {"token": "default"})
            assert len([line for line in lines if line.startswith("Listening on amqp://")]) == 1
            assert len([line for line in lines if line.startswith('Connect: io("http://')]) == count
            assert len([line for line in lines if line.startswith("Connect:")]) == count
