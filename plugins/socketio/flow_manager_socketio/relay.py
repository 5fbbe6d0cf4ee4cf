"""Events out: from the manager's bus to the clients that want them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.lowlevel
import orjson
from anyio.abc import TaskStatus

from flow_manager_core.contracts import Events, Gateway, Position
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import Event
from flow_manager_core.log import Log
from flow_manager_socketio.jsontext import encode
from flow_manager_socketio.rooms import ALL_EVENTS, Rooms, room_of

Emit = Callable[[str, orjson.Fragment, Sequence[str]], Awaitable[None]]


class Relay:
    """Follows the bus; each event is written as JSON once, whoever gets it.

    Args:
        emit: takes the event's name, its body, and the rooms that get it. Must not wait for a
            client, and has found out who is in them before it waits for anything.
        rooms: say who gets an event.
    """

    def __init__(self, gateway: Gateway, emit: Emit, rooms: Rooms, log: Log) -> None:
        self._gateway = gateway
        self._emit = emit
        self._rooms = rooms
        self._log = log
        self._events: Events | None = None
        self._at = 0

    @property
    def at(self) -> int:
        """The number of the last event that went to the rooms, or that nobody in them wants."""
        if self._events is not None and self._events.caught_up:
            return self._gateway.position.seq
        return self._at

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Relay until the bus closes; after a loss, tell the clients and go on from the log."""
        since: Position | None = None
        while True:
            try:
                async with self._gateway.subscribe(since) as events:
                    events.wants = self._wants
                    if since is None:
                        self._at = self._gateway.position.seq
                    self._events = events
                    task_status.started()
                    task_status = anyio.TASK_STATUS_IGNORED
                    async for event in events:
                        await self._tell(event)
                        # Queueing waits for nobody: without this, clients would get no turn.
                        await anyio.lowlevel.checkpoint()
                return
            except FlowManagerError as error:
                since = Position(self._gateway.position.epoch, self._at)
                self._log.error("Events lost", error=error.message)
                await self._emit(
                    "error", encode(self._gateway.error_body(error)), [ALL_EVENTS, room_of("error")]
                )

    def _wants(self, kind: type[Event]) -> bool:
        return self._rooms.hear(kind.name)

    async def _tell(self, event: Event) -> None:
        self._at = event.seq or self._at
        if not self._rooms.hear(event.name):
            return
        try:
            body = orjson.Fragment(self._gateway.event_json(event))
        except (TypeError, ValueError, RecursionError) as error:
            self._log.error("Event not relayed", kind=event.name, error=repr(error))
            return
        await self._emit(event.name, body, self._rooms.of(event))
