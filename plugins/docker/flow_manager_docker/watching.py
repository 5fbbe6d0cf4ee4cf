"""The engine's event stream, read by a thread that does nothing else.

A reader that stalls makes every event-publishing call of the engine take 100 ms longer and loses
events, so the thread only enqueues; the event loop is woken through a socket pair, which works
alike on every loop.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint

from flow_manager_core.models import EngineEvent
from flow_manager_docker.calls import MARGIN, within
from flow_manager_docker.client import Abortable, EngineClient, EngineStream
from flow_manager_docker.errors_map import ENGINE_FAILURES, Subject, translate
from flow_manager_docker.events import event_parameters, read_event

#: Notices that wait for the event loop. One more ends the stream: the caller watches again.
QUEUE_LIMIT = 10_000

#: Seconds that the thread gets to see that its stream was ended.
JOIN_TIMEOUT = 1.0


class EventReader(AsyncIterator[EngineEvent]):
    """The thread's work, and the iterator that the event loop sees.

    Args:
        instance: whose containers.
        timeout: seconds that subscribing may take.
    """

    def __init__(self, instance: str, timeout: float) -> None:
        self._instance = instance
        self._timeout = timeout
        self._queue: deque[dict[str, Any]] = deque()
        self._handle = Abortable()
        self._waking, self._woken = socket.socketpair()
        for end in (self._waking, self._woken):
            end.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="docker-events", daemon=True)
        self._subscribed = False
        self._ended = False
        self._failure: Exception | None = None

    async def start(self) -> None:
        """Subscribe.

        Raises:
            EngineUnavailable: the engine is away.
        """
        self._thread.start()
        with within(self._timeout, Subject()):
            while not (self._subscribed or self._ended):
                await self._wait()
        if self._failure is not None and not self._subscribed:
            raise translate(self._failure, Subject()) from self._failure

    async def stop(self) -> None:
        """End the stream and the thread."""
        self._handle.abort()
        with anyio.CancelScope(shield=True):
            # A thread that still waits for an engine that hangs is left to its sockets' timeout.
            await to_thread.run_sync(
                self._thread.join, JOIN_TIMEOUT, limiter=anyio.CapacityLimiter(1)
            )
        self._woken.close()

    async def __anext__(self) -> EngineEvent:
        """Give the next event.

        Raises:
            StopAsyncIteration: the engine ended the stream, or the queue was full.
            EngineUnavailable: the stream broke.
        """
        while True:
            while self._queue:
                if (event := read_event(self._queue.popleft())) is not None:
                    await checkpoint()
                    return event
            if self._ended and not self._queue:
                if self._failure is not None:
                    raise translate(self._failure, Subject()) from self._failure
                raise StopAsyncIteration
            await self._wait()

    async def _wait(self) -> None:
        await anyio.wait_readable(self._woken)
        with suppress(BlockingIOError):  # another waiter may have read it
            self._woken.recv(4096)

    def _run(self) -> None:
        try:
            with EngineClient(self._timeout + MARGIN) as client, self._subscribe(client) as stream:
                if self._handle.adopt(stream):
                    self._read(stream)
        except (*ENGINE_FAILURES, ValueError) as error:
            self._failure = error
        finally:
            self._ended = True
            self._wake()
            self._waking.close()

    def _subscribe(self, client: EngineClient) -> EngineStream:
        query = event_parameters(self._instance, client.api.info()["SystemTime"])
        stream = client.open("GET", "/events", params=query)
        stream.wait_forever()
        return stream

    def _read(self, stream: EngineStream) -> None:
        self._subscribed = True
        self._wake()
        for found in stream.objects():
            if len(self._queue) >= QUEUE_LIMIT:
                return
            self._queue.append(found)
            self._wake()

    def _wake(self) -> None:
        # A full buffer means that the loop is being woken already; a closed end, that it left.
        with suppress(OSError):
            self._waking.send(b"\0")


@asynccontextmanager
async def watch(instance: str, timeout: float) -> AsyncIterator[AsyncIterator[EngineEvent]]:
    """Follow one instance's events; see `ContainerBackend.watch`."""
    reader = EventReader(instance, timeout)
    try:
        await reader.start()
        yield reader
    finally:
        await reader.stop()
