"""A client as the README describes one: commands out, answers and events in."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import anyio
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from flow_manager_core.testing.memory_client import Told

DEADLINE = 20.0


class AmqpClient:
    """Keeps what it hears; `request` waits for the answer to its own correlation id."""

    def __init__(self, channel: AbstractChannel, answers: AbstractQueue, instance: str) -> None:
        self.channel = channel
        self.answers = answers
        self.instance = instance
        self.commands = f"flow-manager.{instance}.commands"
        #: Every event, with its message.
        self.heard: list[AbstractIncomingMessage] = []
        #: Every answer, in the order they came.
        self.answered: list[AbstractIncomingMessage] = []
        self._events: asyncio.Queue[Told] = asyncio.Queue()
        self._waiting: dict[str, asyncio.Future[AbstractIncomingMessage]] = {}
        self._numbers = itertools.count(1)

    async def send(self, name: str | None, body: bytes, **properties: Any) -> None:
        """Put a command into the queue."""
        message = aio_pika.Message(body, type=name, **properties)
        await self.channel.default_exchange.publish(message, self.commands)

    async def command(self, name: str | None, body: bytes, **more: Any) -> AbstractIncomingMessage:
        """Send a command, and wait for the message that answers it."""
        number = str(next(self._numbers))
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.send(name, body, reply_to=self.answers.name, correlation_id=number, **more)
        with anyio.fail_after(DEADLINE):
            return await answer

    async def request(self, name: str, payload: object) -> Told:
        answer = await self.command(name, json.dumps(payload).encode())
        return str(answer.type), json.loads(answer.body)

    async def hear_answer(self, message: AbstractIncomingMessage) -> None:
        self.answered.append(message)
        waiting = self._waiting.pop(message.correlation_id or "", None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def hear_event(self, message: AbstractIncomingMessage) -> None:
        self.heard.append(message)
        self._events.put_nowait((str(message.type), json.loads(message.body)))

    def bodies(self, name: str) -> list[Any]:
        """The bodies of the events of one name."""
        return [json.loads(message.body) for message in self.heard if message.type == name]

    async def until(self, condition: Callable[[], object]) -> None:
        with anyio.fail_after(DEADLINE):
            while not condition():
                await anyio.sleep(0.005)

    def events(self) -> AsyncIterator[Told]:
        return self

    def __aiter__(self) -> AmqpClient:
        return self

    async def __anext__(self) -> Told:
        return await self._events.get()


@asynccontextmanager
async def amqp_client(
    url: str, instance: str, pattern: str = "event.#"
) -> AsyncIterator[AmqpClient]:
    """Connect, and hear the events that match a pattern."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(
            f"flow-manager.{instance}.events", aio_pika.ExchangeType.TOPIC, durable=True
        )
        events = await channel.declare_queue(exclusive=True)
        await events.bind(exchange, pattern)
        client = AmqpClient(channel, await channel.declare_queue(exclusive=True), instance)
        await client.answers.consume(client.hear_answer, no_ack=True)
        await events.consume(client.hear_event, no_ack=True)
        yield client
