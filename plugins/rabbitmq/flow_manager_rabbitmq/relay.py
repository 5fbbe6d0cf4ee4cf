"""Events out: from the manager's bus to the topic exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aio_pika
import anyio
from anyio.abc import TaskGroup

from flow_manager_core.contracts import Gateway, Position
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import ErrorReported, Event, ManagerStopping
from flow_manager_core.log import Log
from flow_manager_rabbitmq.calls import BrokerLost
from flow_manager_rabbitmq.desk import JSON
from flow_manager_rabbitmq.line import Line

#: Events that may wait for the broker's confirmation; the next ones wait in the log.
_UNCONFIRMED = 200
#: Seconds at close for the last ones to be confirmed.
_FLUSHING = 0.2


class Relay:
    """Follows the log of events and the live ones; goes on where it was when a line is there again.

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
        self._lined = anyio.Event()
        self._telling = anyio.CancelScope()
        self._unconfirmed = Unconfirmed(gateway.beginning)
        self._window = anyio.CapacityLimiter(_UNCONFIRMED)
        self._settled = anyio.Event()

    async def run(self) -> None:
        """Relay until the bus closes.

        What the manager found at its start is told first: queues that outlived its last life learn
        of it.
        """
        while True:
            line = await self._usable()
            with anyio.CancelScope() as self._telling:
                try:
                    await self._relay(line)
                    return
                except FlowManagerError as error:
                    self._log.error("Events lost", error=error.message)
                    body = self._gateway.error_body(error)
                    await self._tell(line, ErrorReported(container_id="", error=body))
            await self._drained()
            self._unconfirmed.forget()

    async def _relay(self, line: Line) -> None:
        async with self._gateway.subscribe(since=self._unconfirmed.confirmed) as events:
            async for event in events:
                await self._tell(line, event)
                if isinstance(event, ManagerStopping):
                    await self._on_stopping()

    async def _usable(self) -> Line:
        while self._line is None or self._line.lost.is_set():
            self._lined = anyio.Event()
            await self._lined.wait()
        return self._line

    async def _drained(self) -> None:
        """Wait until nothing is on its way: what is told again must not overtake itself."""
        while self._window.borrowed_tokens:
            self._settled = anyio.Event()
            await self._settled.wait()

    def take_up(self, line: Line) -> None:
        """Relay by a new line from now on."""
        self._line = line
        self._telling.cancel()
        self._lined.set()

    async def close(self) -> None:
        """Let the latest events be confirmed."""
        with anyio.move_on_after(_FLUSHING):
            await self._drained()

    async def _tell(self, line: Line, event: Event) -> None:
        """Publish, in the order of the calls; wait only while too many are not confirmed."""
        try:
            body = self._gateway.event_json(event)
        except (TypeError, ValueError, RecursionError) as error:
            self._log.error("Event not relayed", kind=event.name, error=repr(error))
            return
        turn = object()
        await self._window.acquire_on_behalf_of(turn)
        self._unconfirmed.sent(event)
        self._group.start_soon(self._publish, line, event, body, turn)

    async def _publish(self, line: Line, event: Event, body: bytes, turn: object) -> None:
        try:
            await line.tell(*_message(event, body))
            self._unconfirmed.settled(event)
        except BrokerLost as error:
            await self._halt(line, error)
        finally:
            self._window.release_on_behalf_of(turn)
            self._settled.set()

    async def _halt(self, line: Line, error: BrokerLost) -> None:
        """Tell nothing more by this line; but by one that is only blocked, once it is not."""
        blocked = await line.blocked()
        if not blocked:
            line.break_off(f"an event could not be published: {error}")
        if self._line is not line:
            return
        self._line = None
        self._telling.cancel()
        if blocked:
            self._log.warning("RabbitMQ takes no events: it is short of memory or disk")
            self._group.start_soon(self._resume, line)

    async def _resume(self, line: Line) -> None:
        await line.relieved()
        if not line.lost.is_set():
            self.take_up(line)


class Unconfirmed:
    """What the broker has not confirmed, and so up to where all is told.

    Args:
        confirmed: where the telling begins.
    """

    def __init__(self, confirmed: Position) -> None:
        self.confirmed: Position = confirmed
        self._latest = confirmed
        self._before: dict[int, Position] = {}

    def sent(self, event: Event) -> None:
        """An event is on its way; those without a number are not told again."""
        if event.seq:
            self._before[event.seq] = self._latest
            self._latest = Position(event.epoch, event.seq)

    def settled(self, event: Event) -> None:
        """An event has arrived."""
        self._before.pop(event.seq, None)
        self.confirmed = next(iter(self._before.values()), self._latest)

    def forget(self) -> None:
        """What was not confirmed will be told again."""
        self._before.clear()
        self._latest = self.confirmed


def _message(event: Event, body: bytes) -> tuple[aio_pika.Message, str]:
    """The message of an event, and its routing key."""
    container_id = event.container_id[:12]
    message = aio_pika.Message(
        body,
        content_type=JSON,
        type=event.name,
        message_id=f"{event.epoch}/{event.seq}" if event.seq else None,
        headers={"container_id": container_id} if container_id else {},
        delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT,
        timestamp=datetime.now(UTC),
    )
    return message, f"event.{event.name}"
