"""Events out: from the manager's bus to the clients that want them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.lowlevel
import orjson
from anyio.abc import TaskStatus

from flow_manager_core.contracts import Gateway
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import Event
from flow_manager_core.log import Log
from flow_manager_socketio.clients import ALL_EVENTS, room_of
from flow_manager_socketio.jsontext import encode

Emit = Callable[[str, orjson.Fragment, Sequence[str]], Awaitable[None]]


class Relay:
    """Follows the bus; each event is written as JSON once, whoever gets it.

    Args:
        emit: takes the event's name, its body, and the rooms that get it. Must not wait for a
            client.
        hears: whether anyone gets an event of this name.
    """

    def __init__(
        self, gateway: Gateway, emit: Emit, hears: Callable[[str], bool], log: Log
    ) -> None:
        self._gateway = gateway
        self._emit = emit
        self._hears = hears
        self._log = log

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Relay until the bus closes; after a loss, tell the clients and go on."""
        while True:
            try:
                async with self._gateway.subscribe() as events:
                    events.wants = self._wants
                    task_status.started()
                    task_status = anyio.TASK_STATUS_IGNORED
                    async for event in events:
                        await self._tell(event)
                        # Queueing waits for nobody: without this, clients would get no turn.
                        await anyio.lowlevel.checkpoint()
                return
            except FlowManagerError as error:
                self._log.error("Events lost", error=error.message)
                await self._emit(
                    "error", encode(self._gateway.error_body(error)), [ALL_EVENTS, room_of("error")]
                )

    def _wants(self, kind: type[Event]) -> bool:
        return self._hears(kind.name)

    async def _tell(self, event: Event) -> None:
        if not self._hears(event.name):
            return
        try:
            body = encode(self._gateway.event_body(event))
        except (TypeError, ValueError, RecursionError) as error:
            self._log.error("Event not relayed", kind=event.name, error=repr(error))
            return
        await self._emit(event.name, body, [ALL_EVENTS, room_of(event.name)])
