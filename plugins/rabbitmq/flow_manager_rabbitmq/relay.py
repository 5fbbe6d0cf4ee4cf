"""Events out: from the manager's bus to the topic exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import aio_pika
import anyio
from anyio.abc import TaskGroup, TaskStatus

from flow_manager_core.contracts import Gateway
from flow_manager_core.errors import FlowManagerError, SystemFault
from flow_manager_core.events import ErrorReported, Event, ManagerStopping
from flow_manager_core.log import Log
from flow_manager_rabbitmq import jsontext
from flow_manager_rabbitmq.calls import BrokerLost
from flow_manager_rabbitmq.desk import JSON
from flow_manager_rabbitmq.line import Line

#: Events that may wait for the broker's confirmation; the next ones wait on the bus, in its bounds.
_UNCONFIRMED = 200
#: Seconds at close for the last ones to be confirmed.
_FLUSHING = 0.2


class Relay:
    """Follows the bus. While there is no line, events are counted and dropped.

    Args:
        group: publishes.
        on_stopping: called when the manager begins to close.
    """

    def __init__(
        self,
        gateway: Gateway,
        group: TaskGroup,
        on_stopping: Callable[[], Awaitable[None]],
        log: Log,
    ) -> None:
        self._gateway = gateway
        self._group = group
        self._on_stopping = on_stopping
        self._log = log
        self._line: Line | None = None
        self._dropped = 0
        self._window = anyio.CapacityLimiter(_UNCONFIRMED)
        self._settled = anyio.Event()
        self._begun = anyio.Event()

    def begin(self) -> None:
        """Tell what was heard so far: the first line is there, or known not to be."""
        self._begun.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Relay until the bus closes; after a loss on the bus, tell of it and go on."""
        first = True
        while True:
            try:
                async with self._gateway.subscribe() as events:
                    # Queues that outlived the last manager learn what this one found at its start.
                    news = self._gateway.news() if first else ()
                    task_status.started()
                    task_status, first = anyio.TASK_STATUS_IGNORED, False
                    await self._begun.wait()
                    for event in news:
                        await self._tell(event)
                    async for event in events:
                        await self._tell(event)
                return
            except FlowManagerError as error:
                self._log.error("Events lost", error=error.message)
                await self._send(ErrorReported.name, self._gateway.error_body(error), "")

    async def take_up(self, line: Line) -> None:
        """Relay by a new line from now on, and first tell what was lost for want of one.

        Raises:
            BrokerLost: it is of no use.
        """
        while self._dropped:
            count = self._dropped
            fault = SystemFault(
                f"{count} events were lost while RabbitMQ was away",
                hint="Ask for what you must know: list_containers, get_container_status",
                events_lost=count,
            )
            await line.tell(*_message(ErrorReported.name, self._gateway.error_body(fault), ""))
            self._dropped -= count
        self._line = line

    async def close(self) -> None:
        """Let the latest events be confirmed."""
        with anyio.move_on_after(_FLUSHING):
            while self._window.borrowed_tokens:
                self._settled = anyio.Event()
                await self._settled.wait()

    async def _tell(self, event: Event) -> None:
        try:
            body = self._gateway.event_body(event)
            await self._send(event.name, body, event.container_id[:12])
        except (TypeError, ValueError, RecursionError) as error:
            self._log.error("Event not relayed", kind=event.name, error=repr(error))
        if isinstance(event, ManagerStopping):
            await self._on_stopping()

    async def _send(self, name: str, body: Mapping[str, Any], container_id: str) -> None:
        """Publish, in the order of the calls; wait only while too many are not confirmed."""
        line = self._line
        if line is None or line.lost.is_set():
            self._dropped += 1
            return
        message, key = _message(name, body, container_id)
        turn = object()
        await self._window.acquire_on_behalf_of(turn)
        self._group.start_soon(self._publish, line, message, key, turn)

    async def _publish(self, line: Line, message: aio_pika.Message, key: str, turn: object) -> None:
        try:
            await line.tell(message, key)
        except BrokerLost as error:
            self._dropped += 1
            if await line.blocked():
                self._set_aside(line)
            else:
                line.break_off(f"an event could not be published: {error}")
        finally:
            self._window.release_on_behalf_of(turn)
            self._settled.set()

    def _set_aside(self, line: Line) -> None:
        """Drop events until the broker reads again: waiting here would hold up the flows."""
        if self._line is not line:
            return
        self._line = None
        self._log.warning("RabbitMQ takes no events: it is short of memory or disk")
        self._group.start_soon(self._resume, line)

    async def _resume(self, line: Line) -> None:
        await line.relieved()
        try:
            if not line.lost.is_set():
                await self.take_up(line)
        except BrokerLost as error:
            line.break_off(f"an event could not be published: {error}")


def _message(name: str, body: Mapping[str, Any], container_id: str) -> tuple[aio_pika.Message, str]:
    """The message of an event, and its routing key."""
    message = aio_pika.Message(
        jsontext.write(body),
        content_type=JSON,
        type=name,
        headers={"container_id": container_id} if container_id else {},
        delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT,
        timestamp=datetime.now(UTC),
    )
    return message, f"event.{name}"
