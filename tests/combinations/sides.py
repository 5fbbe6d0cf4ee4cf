"""The client's side of a manager: over Socket.IO, over RabbitMQ, or in the same process."""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from flow_manager_core import FlowManager, FlowManagerError
from tests.e2e.client import RESPONSES
from tests.e2e.service import Service

PATIENCE = 30.0


class Side(ABC):
    """One client, who keeps what it is told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    @abstractmethod
    async def request(self, name: str, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Send a request; return the response event's name and its body."""

    async def ask(self, name: str, /, **payload: Any) -> dict[str, Any]:
        """Send a request that must succeed."""
        event, body = await self.request(name, payload)
        assert event == RESPONSES[name], (event, body)
        return body

    async def failure(self, name: str, /, **payload: Any) -> dict[str, Any]:
        """Send a request that must fail, in the one error format."""
        event, body = await self.request(name, payload)
        assert event == "error", (event, body)
        assert body["error"] is True
        assert body["details"]["operation"] == name
        return body

    async def try_to(self, name: str, /, **payload: Any) -> None:
        """Send a request of which it does not matter whether it can be carried out."""
        await self.request(name, payload)

    def mark(self) -> int:
        """The moment, as a place among the events."""
        return len(self.events)

    async def event(self, name: str, *, since: int = 0, **fields: Any) -> dict[str, Any]:
        """Wait for an event that carries certain fields; return its body."""
        with anyio.move_on_after(PATIENCE):
            while True:
                for told, body in self.events[since:]:
                    if told == name and all(body.get(k) == v for k, v in fields.items()):
                        return body
                await anyio.sleep(0.005)
        raise AssertionError(f"no {name} {fields} among {self.events[since:]}")

    def told(self, name: str, *, since: int) -> list[dict[str, Any]]:
        """The events of one kind since a moment."""
        return [body for told, body in self.events[since:] if told == name]


class SocketIOSide(Side):
    """Over Socket.IO; the acknowledgement counts."""

    def __init__(self, io: Any) -> None:
        super().__init__()
        self._io = io

    @classmethod
    @asynccontextmanager
    async def open(cls, service: Service) -> AsyncIterator[Side]:
        """Connect."""
        import socketio

        io = socketio.AsyncClient(reconnection=False)
        side = cls(io)

        async def keep(name: str, body: Any = None) -> None:
            side.events.append((name, body))

        io.on("*", keep)
        await io.connect(service.url, auth={"token": service.token})
        try:
            yield side
        finally:
            await io.disconnect()

    async def request(self, name: str, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        body = await self._io.call(name, payload, timeout=60)
        return ("error" if body.get("error") else RESPONSES[name]), body


class RabbitSide(Side):
    """Over RabbitMQ: commands into the queue, answers from one of its own."""

    def __init__(self, channel: Any, answers: Any, commands: str) -> None:
        super().__init__()
        self._channel = channel
        self._answers = answers
        self._commands = commands
        self._waiting: dict[str, tuple[anyio.Event, list[Any]]] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, service: Service, url: str) -> AsyncIterator[Side]:
        """Connect, and bind a queue to all events."""
        import aio_pika

        connection = await aio_pika.connect(url)
        async with connection:
            channel = await connection.channel()
            prefix = f"flow-manager.{service.instance}"
            answers = await channel.declare_queue(exclusive=True)
            told = await channel.declare_queue(exclusive=True)
            await told.bind(f"{prefix}.events", "event.#")
            side = cls(channel, answers, f"{prefix}.commands")
            await answers.consume(side._answered, no_ack=True)
            await told.consume(side._told, no_ack=True)
            yield side

    async def _told(self, message: Any) -> None:
        self.events.append((message.type, json.loads(message.body)))

    async def _answered(self, message: Any) -> None:
        done, found = self._waiting[message.correlation_id]
        found += [message.type, json.loads(message.body)]
        done.set()

    async def request(self, name: str, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        import aio_pika

        key = uuid.uuid4().hex
        done, found = self._waiting[key] = (anyio.Event(), [])
        message = aio_pika.Message(
            json.dumps(payload).encode(),
            type=name,
            correlation_id=key,
            reply_to=self._answers.name,
        )
        await self._channel.default_exchange.publish(message, self._commands)
        with anyio.fail_after(60):
            await done.wait()
        del self._waiting[key]
        return found[0], found[1]


class EmbeddedSide(Side):
    """In the process of the manager itself."""

    def __init__(self, manager: FlowManager) -> None:
        super().__init__()
        self._manager = manager

    @classmethod
    @asynccontextmanager
    async def open(cls, manager: FlowManager) -> AsyncIterator[Side]:
        """Listen."""
        side = cls(manager)
        async with anyio.create_task_group() as group:
            await group.start(side._listen)
            yield side
            group.cancel_scope.cancel()

    async def _listen(self, *, task_status: Any) -> None:
        async with self._manager.subscribe() as events:
            task_status.started()
            async for event in events:
                self.events.append((event.name, dict(self._manager.event_body(event))))

    async def request(self, name: str, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        try:
            return RESPONSES[name], await self._manager.execute(name, payload)
        except FlowManagerError as error:
            return "error", dict(self._manager.error_body(error))
