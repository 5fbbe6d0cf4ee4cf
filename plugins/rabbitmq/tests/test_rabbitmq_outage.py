"""The broker goes away and comes back; the manager is killed and comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.abc import TaskStatus

from flow_manager_core import FlowManager
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine
from plugins.rabbitmq.tests.amqp_client import amqp_client
from tests.support.rabbitmq import RabbitMQ
from tests.support.registry import free_port

pytestmark = pytest.mark.anyio

STUBBORN = {
    "image": "memory",
    "name": "one",
    "command": ["stubborn"],
    "start": True,
    "stop_timeout": 0.2,
}


@pytest.fixture
async def broker(rabbitmq: RabbitMQ) -> AsyncIterator[RabbitMQ]:
    """The broker, which is there again at the end whatever the test has done to it."""
    yield rabbitmq
    await to_thread.run_sync(rabbitmq.ensure)


async def until_logged(caplog: pytest.LogCaptureFixture, text: str, count: int = 1) -> None:
    with anyio.fail_after(30):
        while caplog.text.count(text) < count:
            await anyio.sleep(0.01)


async def test_what_happens_while_the_broker_is_away_is_told_once_it_is_there_again(
    broker: RabbitMQ, managing: Any, instance: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with managing() as manager:
        async with amqp_client(broker.url, instance) as client:
            durable = await client.channel.declare_queue(f"{instance}.heard", durable=True)
            await durable.bind(f"flow-manager.{instance}.events", "event.#")
            await client.request("list_containers", {})
            await to_thread.run_sync(broker.kill)
        await until_logged(caplog, "RabbitMQ is away")
        told = await events_of(manager, lambda: manager.execute("create_container", STUBBORN))
        assert told
        await to_thread.run_sync(broker.start)
        await until_logged(caplog, "RabbitMQ is there again")
        async with amqp_client(broker.url, instance) as client:
            assert (await client.request("list_containers", {}))[1]["count"] == 1
            await client.request("delete_container", {"container_id": "one"})
            last = manager.position
            durable = await client.channel.get_queue(f"{instance}.heard")
            heard: list[Any] = []

            async def hear(message: Any) -> None:
                heard.append(message)

            await durable.consume(hear, no_ack=True)
            await client.until(lambda: numbers_of(heard)[-1:] == [last.seq])
            assert numbers_of(heard) == list(range(1, last.seq + 1))
            assert numbers_of(heard)[: len(told)] == told
            assert heard[-1].message_id == f"{last.epoch}/{last.seq}"
            assert "error" not in [message.type for message in heard]
        assert caplog.text.count("RabbitMQ is away") == 1
        assert caplog.text.count("RabbitMQ is there again") == 1


async def test_a_broker_that_is_away_at_the_start_is_waited_for(
    managing: Any, instance: str, caplog: pytest.LogCaptureFixture, broker: RabbitMQ
) -> None:
    caplog.set_level(logging.INFO)
    await to_thread.run_sync(broker.kill)
    async with managing() as manager:
        assert (await manager.execute("list_containers", {}))["count"] == 0
        await to_thread.run_sync(broker.start)
        await until_logged(caplog, "RabbitMQ is there again")
        async with amqp_client(broker.url, instance) as client:
            assert (await client.request("list_containers", {}))[0] == "container_list"
    assert caplog.text.count("RabbitMQ is away") == 1


async def test_a_manager_closes_promptly_while_there_is_no_broker(managing: Any) -> None:
    async with managing(url=f"amqp://a:b@127.0.0.1:{free_port()}/"):
        begun = time.monotonic()
    assert time.monotonic() - begun < 1


async def test_a_manager_closes_promptly_although_the_broker_is_frozen(
    managing: Any, instance: str, broker: RabbitMQ
) -> None:
    async with managing(core={"shutdown_timeout": 0.1}) as manager:
        async with amqp_client(broker.url, instance) as client:
            await client.request("create_container", STUBBORN)
            await client.send("stop_container", b'{"container_id": "one", "timeout": 0.2}')
            broker.freeze()
        await manager.execute("list_containers", {})
        begun = time.monotonic()
    assert time.monotonic() - begun < 4
    broker.thaw()


async def test_a_frozen_broker_is_given_up_and_found_again(
    managing: Any, instance: str, broker: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with managing(call_timeout=0.5) as manager:
        before = tasks_of_aiormq()
        broker.freeze()
        await manager.execute("create_container", STUBBORN)
        await until_logged(caplog, "RabbitMQ is away")
        broker.thaw()
        await until_logged(caplog, "RabbitMQ is there again")
        async with amqp_client(broker.url, instance) as client:
            assert (await client.request("list_containers", {}))[1]["count"] == 1
        with anyio.fail_after(10):
            while tasks_of_aiormq() != before:
                await anyio.sleep(0.01)


async def test_a_command_under_way_while_the_broker_restarts_is_carried_out_once(
    managing: Any, instance: str, broker: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with MemoryEngine(SCRIPTED).opened() as engine, managing(engine) as manager:
        await manager.execute("create_container", STUBBORN)
        [box] = [box for boxes in engine.boxes.values() for box in boxes.values()]
        async with amqp_client(broker.url, instance) as client:
            await client.channel.declare_queue(f"{instance}.answers", durable=True)
            properties = {"reply_to": f"{instance}.answers", "message_id": "stop-it"}
            body = b'{"container_id": "one", "timeout": 600}'
            await client.send("restart_container", body, delivery_mode=2, **properties)
            with anyio.fail_after(10):
                while box.run is None or not box.run.flow.catch_terminate().is_set():
                    await anyio.sleep(0.005)
            await to_thread.run_sync(broker.kill)
        await until_logged(caplog, "RabbitMQ is away")
        engine.kill(box, 9)
        with anyio.fail_after(10):
            while caplog.text.count("Container operation: restart") < 1:
                await anyio.sleep(0.005)
        await to_thread.run_sync(broker.start)
        async with amqp_client(broker.url, instance) as client:
            answers = await client.channel.get_queue(f"{instance}.answers")
            await answers.consume(client.hear_answer, no_ack=True)
            await client.until(lambda: client.answered)
            assert client.answered[0].type == "container_restarted"
            assert (await client.request("list_containers", {}))[0] == "container_list"
        assert caplog.text.count("Container operation: restart") == 1


async def test_a_broker_short_of_memory_gets_answers_and_events_once_it_reads_again(
    managing: Any, instance: str, broker: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with amqp_client(broker.url, instance) as client:
        await client.channel.declare_queue(client.commands, durable=True)
        body = json.dumps(STUBBORN).encode()
        await client.send("create_container", body, reply_to=client.answers.name)
        await to_thread.run_sync(broker.control, "set_vm_memory_high_watermark", "0")
        try:
            async with managing(call_timeout=2.0) as manager:
                await until_logged(caplog, "RabbitMQ takes no events")
                await until_logged(caplog, "Container operation: create")
                stop = {"container_id": "one"}
                told = await events_of(manager, lambda: manager.execute("stop_container", stop))
                assert told
                assert not client.answered
                await to_thread.run_sync(broker.control, "set_vm_memory_high_watermark", "0.4")
                await client.until(lambda: client.answered)
                await client.request("delete_container", stop)
                last = manager.position.seq
                await client.until(lambda: numbers_of(client.heard)[-1:] == [last])
                # What was not confirmed may have arrived, and comes again.
                assert sorted(set(numbers_of(client.heard))) == list(range(1, last + 1))
                assert not client.bodies("error")
        finally:
            await to_thread.run_sync(broker.control, "set_vm_memory_high_watermark", "0.4")
    assert [m.type for m in client.answered] == ["container_created", "container_deleted"]
    assert "RabbitMQ is away" not in caplog.text


async def test_a_deleted_queue_is_made_again(
    rabbitmq: RabbitMQ, managing: Any, instance: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        await client.channel.queue_delete(client.commands)
        await until_logged(caplog, "RabbitMQ is there again")
        assert (await client.request("list_containers", {}))[0] == "container_list"


async def test_a_second_manager_of_the_instance_waits_until_the_first_is_gone(
    rabbitmq: RabbitMQ,
    managing: Any,
    instance: str,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.INFO)
    done = anyio.Event()

    async def live(folder: str, *, task_status: TaskStatus[FlowManager]) -> None:
        async with managing(core={"state_dir": tmp_path / folder}) as manager:
            task_status.started(manager)
            await done.wait()

    async with amqp_client(rabbitmq.url, instance) as client, anyio.create_task_group() as group:
        first = await group.start(live, "first")
        ending, done = done, anyio.Event()
        await first.execute("create_container", {"image": "memory", "name": "one"})
        await group.start(live, "second")
        for _ in range(5):
            assert (await client.request("list_containers", {}))[1]["count"] == 1
        assert caplog.text.count("RabbitMQ is away") == 1
        ending.set()
        await until_logged(caplog, "RabbitMQ is there again")
        assert (await client.request("list_containers", {}))[1]["count"] == 0
        done.set()


def tasks_of_aiormq() -> list[str]:
    """What aiormq and aio-pika have running, by what it does."""
    names = [str(task.get_coro()) for task in asyncio.all_tasks()]
    return sorted(n.split(" at ")[0] for n in names if "Connection." in n or "Channel." in n)


async def events_of(manager: Any, act: Any) -> list[int]:
    """Do something; give the numbers of the events that the manager told of it."""
    async with manager.subscribe() as events:
        await act()
        last = manager.position.seq
        told: list[int] = []
        with anyio.fail_after(10):
            while told[-1:] != [last]:
                event = await anext(events)
                told += [event.seq] if event.seq else []
        return told


def numbers_of(messages: list[Any]) -> list[int]:
    """The numbers of events, in their order."""
    bodies = [json.loads(message.body) for message in messages]
    return [body["seq"] for body in bodies if "seq" in body]
