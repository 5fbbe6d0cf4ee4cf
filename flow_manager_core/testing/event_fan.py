"""Hands each engine event to every watcher, over a bounded queue for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from flow_manager_core.models import EngineEvent

QUEUE = 10_000


class EventFan:
    """One source, any number of watchers.

    A watcher whose queue is full has lost an event: its iterator ends after what it still holds.
    """

    def __init__(self, queue: int = QUEUE) -> None:
        self._queue = queue
        self._watchers: set[MemoryObjectSendStream[EngineEvent]] = set()

    def publish(self, event: EngineEvent) -> None:
        """Put an event into every watcher's queue."""
        for watcher in list(self._watchers):
            try:
                watcher.send_nowait(event)
            except anyio.WouldBlock:
                self._watchers.discard(watcher)
                watcher.close()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        """Follow the events from now on."""
        send, receive = anyio.create_memory_object_stream[EngineEvent](self._queue)
        with send, receive:
            self._watchers.add(send)
            try:
                yield receive
            finally:
                self._watchers.discard(send)
