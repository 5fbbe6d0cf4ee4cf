"""Tells every watcher what happens to containers, over a bounded queue for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from flow_manager_core.models import EngineEvent

#: Events that a watcher may leave unread: a start and an end of some thousand containers.
QUEUE = 10_000


class Watchers:
    """The receivers of one backend's events.

    One whose queue is full has lost an event: its iterator ends after what it still holds.
    """

    def __init__(self, queue: int = QUEUE) -> None:
        self._queue = queue
        self._open: set[MemoryObjectSendStream[EngineEvent]] = set()

    def tell(self, event: EngineEvent) -> None:
        """Put an event into every queue."""
        for watcher in tuple(self._open):
            try:
                watcher.send_nowait(event)
            except anyio.WouldBlock:
                self._open.discard(watcher)
                watcher.close()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        """Follow the events from now on."""
        send, receive = anyio.create_memory_object_stream[EngineEvent](self._queue)
        with send, receive:
            self._open.add(send)
            try:
                yield receive
            finally:
                self._open.discard(send)
