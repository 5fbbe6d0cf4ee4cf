"""Hands each engine event to every watcher, over a bounded queue for each, and remembers some."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from flow_manager_core.errors import EngineUnavailable
from flow_manager_core.models import EngineEvent

QUEUE = 10_000

#: Events that are remembered, as Docker's engine does.
REMEMBERED = 256


class Watcher(AsyncIterator[EngineEvent]):
    """One watcher's end of the stream.

    Args:
        queue: events that may wait.
    """

    def __init__(self, queue: int) -> None:
        self._send: MemoryObjectSendStream[EngineEvent]
        self._receive: MemoryObjectReceiveStream[EngineEvent]
        self._send, self._receive = anyio.create_memory_object_stream[EngineEvent](queue)
        self._broken = ""

    async def __anext__(self) -> EngineEvent:
        """Give the next event.

        Raises:
            StopAsyncIteration: an event was lost.
            EngineUnavailable: the stream broke.
        """
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            if self._broken:
                raise EngineUnavailable(self._broken) from None
            raise StopAsyncIteration from None

    def put(self, event: EngineEvent) -> bool:
        """Queue an event; false when there is no room."""
        try:
            self._send.send_nowait(event)
        except anyio.WouldBlock:
            return False
        return True

    def end(self, broken: str = "") -> None:
        """Let the iterator end after what is queued, or fail, if `broken` says why."""
        self._broken = broken
        self._send.close()

    def close(self) -> None:
        """Let go of both ends."""
        self._send.close()
        self._receive.close()


class EventFan:
    """One source, any number of watchers.

    A watcher whose queue is full has lost an event: its iterator ends after what it still holds.
    """

    def __init__(self, queue: int = QUEUE) -> None:
        self._queue = queue
        self._watchers: set[Watcher] = set()
        self._memory: deque[EngineEvent] = deque(maxlen=REMEMBERED)

    @property
    def memory(self) -> list[EngineEvent]:
        """The last events, oldest first."""
        return list(self._memory)

    def forget(self) -> None:
        """Lose the memory, as an engine does that is started anew."""
        self._memory.clear()

    def publish(self, event: EngineEvent) -> None:
        """Put an event into every watcher's queue."""
        self._memory.append(event)
        for watcher in list(self._watchers):
            if not watcher.put(event):
                self._watchers.discard(watcher)
                watcher.end()

    def break_off(self, told: str = "") -> None:
        """End all streams: with a failure that says why, or silently."""
        for watcher in self._watchers:
            watcher.end(told)
        self._watchers.clear()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        """Follow the events from now on."""
        watcher = Watcher(self._queue)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            watcher.close()
