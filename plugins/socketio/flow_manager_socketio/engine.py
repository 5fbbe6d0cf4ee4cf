"""python-engineio's server as far as this frontend bends it: owned tasks, bounded queues."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import engineio
from attrs import frozen
from engineio import packet as engine_packet
from engineio.async_socket import AsyncSocket

from flow_manager_socketio.queues import Carrier, ClientQueue, Crowd, Message, QueueLimits
from flow_manager_socketio.tasks import OwnedTasks

NAMESPACE = "/"


class Watch(Protocol):
    """Who is told of sessions that begin and end."""

    async def opened(self, session: str) -> None:
        """A session has begun."""

    def ended(self, session: str) -> None:
        """A session is over."""


@frozen(kw_only=True)
class EngineParts:
    """What an engine needs of ours."""

    tasks: OwnedTasks
    limits: QueueLimits
    on_overflow: Callable[[ClientQueue], None]
    crowd: Crowd


class Engine(engineio.AsyncServer):  # type: ignore[misc]  # python-engineio has no types
    """The Engine.IO server, with owned tasks and bounded queues."""

    def __init__(self, *, parts: EngineParts, **options: Any) -> None:
        self._parts = parts
        self._pings: dict[str, asyncio.Task[Any]] = {}
        super().__init__(**options)

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """Run python-engineio's pings and its watch over silent clients."""
        task = self._parts.tasks.start(target, *args, **kwargs)
        pinged = getattr(target, "__self__", None)
        if isinstance(pinged, AsyncSocket):
            self._pings[pinged.sid] = task
        return task

    def end_pings(self, session: str) -> None:
        """Let go of an ended session: its next ping would keep it in memory for many seconds."""
        task = self._pings.pop(session, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def create_queue(self, *_args: Any, **_kwargs: Any) -> ClientQueue:
        """Make the queue of one client."""
        return ClientQueue(self._parts.limits, self._parts.on_overflow, self._parts.crowd)

    def tell(self, session: str, *messages: Message) -> None:
        """Send messages to a session; one that is closed, or closing, gets none."""
        socket = self.sockets.get(session)
        if socket is not None and not socket.closed:
            socket.queue.tell(*messages)

    def attach(self, session: str, line: Carrier) -> None:
        """Say which WebSocket belongs to a session."""
        socket = self.sockets.get(session)
        if socket is not None:
            socket.queue.attach(line)

    def session_of(self, queue: ClientQueue) -> str | None:
        """Find the session that a queue belongs to."""
        found = (sid for sid, socket in self.sockets.items() if socket.queue is queue)
        return next(found, None)

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""
        return time.monotonic()

    def counts_as_pong(self, session: str) -> None:
        """Take what a client has sent for the pong that is awaited of it, if one is."""
        socket = self.sockets.get(session)
        if socket is not None:
            socket.schedule_ping()

    async def close_session(
        self, session: str, last_words: str | None = None, *, discard: bool = True
    ) -> None:
        """End a session.

        Args:
            last_words: a packet to go out before the end.
            discard: drop what waited for it before these.

        Engine.IO's own CLOSE packet is left out: Python's client takes it to mean that it must
        not come back.
        """
        socket = self.sockets.get(session)
        if socket is None:
            return
        if last_words is not None:
            if discard:
                socket.queue.discard()
            await socket.queue.put(engine_packet.Packet(engine_packet.MESSAGE, last_words))
        await socket.close(wait=False, abort=True, reason=self.reason.SERVER_DISCONNECT)

    async def release_poll(self, session: str) -> None:
        """End a poll that waits for an ended session's packets: there will be none."""
        socket = self.sockets.get(session)
        if socket is not None:
            await socket.queue.put(engine_packet.Packet(engine_packet.NOOP))

    def forget_session(self, session: str) -> None:
        """Drop a closed session with all that still waits for it."""
        socket = self.sockets.pop(session, None)
        if socket is not None:
            socket.queue.discard()
            # What says that there will be no more may have been among it.
            socket.queue.put_nowait(None)
