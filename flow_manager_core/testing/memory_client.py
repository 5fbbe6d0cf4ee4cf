"""The client's side of the frontend in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

#: Events that may wait for a client that does not read; then its stream of them ends.
WAITING = 10_000
#: Seconds between two looks at a client that reads slowly.
GLANCE = 0.01
#: Requests of one client that may wait to be begun; more are answered with an error.
PENDING = 2_000

Told = tuple[str, Any]


class MemoryRequest:
    """One request, and its answer once there is one."""

    def __init__(self, name: str, payload: object) -> None:
        self.name = name
        self.payload = payload
        self._answered = anyio.Event()
        self._answer: Told

    def answer(self, answer: Told) -> None:
        """Give the answer."""
        self._answer = answer
        self._answered.set()

    async def answered(self) -> Told:
        """Wait for it."""
        await self._answered.wait()
        return self._answer


class MemoryClient:
    """One client's side of the door."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._ask: MemoryObjectSendStream[MemoryRequest]
        self.asked: MemoryObjectReceiveStream[MemoryRequest]
        self._tell: MemoryObjectSendStream[Told]
        self._told: MemoryObjectReceiveStream[Told]
        self._ask, self.asked = anyio.create_memory_object_stream[MemoryRequest](PENDING)
        self._tell, self._told = anyio.create_memory_object_stream[Told](WAITING)

    async def request(self, name: str, payload: object) -> Told:
        """Ask for an operation, and wait for its response event and body.

        Raises:
            ConnectionResetError: the manager is gone.
        """
        request = MemoryRequest(name, as_json(payload))
        try:
            self._ask.send_nowait(request)
        except anyio.WouldBlock:
            raise ConnectionResetError("Too many requests wait to be begun") from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ConnectionResetError("The manager is gone") from None
        return await request.answered()

    def events(self) -> AsyncIterator[Told]:
        """Follow the events since the connection; ends when the manager closes."""
        return self._told

    def tell(self, name: str, body: Mapping[str, Any]) -> None:
        """Take an event; called by the frontend."""
        try:
            self._tell.send_nowait((name, as_json(body)))
        except anyio.WouldBlock:
            self._tell.close()  # it would not know otherwise that some are missing
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # it has left, or was dismissed

    async def room(self) -> None:
        """Wait while the client reads more slowly than it is told."""
        while self._tell.statistics().current_buffer_used > WAITING // 2:
            await anyio.sleep(GLANCE)

    def dismiss(self) -> None:
        """End what it hears."""
        self._tell.close()

    def leave(self) -> None:
        """Go: the frontend sees it by the end of the requests."""
        self._ask.close()
        self._tell.close()
        self._told.close()


def as_json(value: object) -> Any:
    """What a client reads of a value that was written as JSON."""
    return json.loads(json.dumps(value, default=dict))
