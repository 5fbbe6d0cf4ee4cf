"""What waits for one client: python-engineio's queue with a limit, and an alarm beyond it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import frozen
from engineio import packet as engine_packet

from flow_manager_socketio.frames import text_frame

#: Seconds without a read after which a client is no longer waited for, and between two looks.
_STALLED, _GLANCE = 0.1, 0.002


#: The share of a queue, as its divisor, that is for what comes through a client's outlet.
ROOM = 16


@frozen
class QueueLimits:
    """When a client counts as too slow: packets, characters."""

    packets: int
    size: int


class Crowd:
    """The clients that lag behind, so that whoever sends to all can let them catch up."""

    def __init__(self) -> None:
        self._lagging: set[ClientQueue] = set()

    def note(self, queue: ClientQueue) -> None:
        """A queue has grown or shrunk."""
        if queue.lags:
            self._lagging.add(queue)
        else:
            self._lagging.discard(queue)

    def leave(self, queue: ClientQueue) -> None:
        """A queue is gone."""
        self._lagging.discard(queue)

    async def catch_up(self) -> None:
        """Wait for those that lag, as long as they read; one that does not is not waited for."""
        while any(queue.reads for queue in self._lagging):  # noqa: ASYNC110  # many make it true
            await asyncio.sleep(_GLANCE)


class Carrier(Protocol):
    """What can take a packet at once."""

    def carry(self, frame: bytes) -> bool:
        """Send a WebSocket frame; ``False``: it cannot be sent now."""


class Message(engine_packet.Packet):  # type: ignore[misc]  # python-engineio has no types
    """An Engine.IO packet that carries one of Socket.IO, written once for all who get it."""

    def __init__(self, text: str) -> None:
        super().__init__(engine_packet.MESSAGE, text)
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """It as a WebSocket frame of a server, which is the same for everyone: it has no mask."""
        if self._frame is None:
            self._frame = text_frame(self.encode())
        return self._frame


class ClientQueue(asyncio.Queue[Any]):
    """Counts packets and characters as they come and go.

    While python-engineio's writer waits for something to send, and the client takes it, messages
    go straight to its WebSocket: waking the writer costs more than sending. Other packets always
    wake it, pings above all: a writer that hears nothing for 45 s takes its client for gone.

    Args:
        limits: checked before a packet is put, so that one large packet always may.
        on_overflow: called once, with the queue, when there is too much.
        crowd: told when the queue lags.
    """

    def __init__(
        self,
        limits: QueueLimits,
        on_overflow: Callable[[ClientQueue], None],
        crowd: Crowd,
    ) -> None:
        super().__init__()
        self._crowd = crowd
        self._last_read = 0.0
        self._limits = limits
        self._on_overflow = on_overflow
        self._size = 0
        self._overflowed = False
        self._carrier: Carrier | None = None
        self._waiting = 0

    def attach(self, carrier: Carrier) -> None:
        """Say what takes messages at once."""
        self._carrier = carrier

    async def get(self) -> Any:
        """Wait for a packet."""
        self._waiting += 1
        try:
            return await super().get()
        finally:
            self._waiting -= 1

    async def put(self, item: Any) -> None:
        """Put a packet, which never waits."""
        self.put_nowait(item)

    def tell(self, *messages: Message) -> None:
        """Send messages in one go, or let them wait behind what does."""
        if self._is_idle and self._carry(messages):
            return
        for message in messages:
            self.put_nowait(message)

    @property
    def _is_idle(self) -> bool:
        """Whether the writer waits, so that nothing can be overtaken."""
        return self._waiting > 0 and self.empty()

    def _carry(self, messages: Sequence[Message]) -> bool:
        if self._carrier is None:
            return False
        return self._carrier.carry(b"".join([message.frame for message in messages]))

    def _put(self, item: Any) -> None:
        if not self._overflowed and self._is_full():
            self._overflowed = True
            self._on_overflow(self)
        self._size += _size_of(item)
        super()._put(item)
        if self.lags:
            self._crowd.note(self)

    def _get(self) -> Any:
        item = super()._get()
        self._size -= _size_of(item)
        self._last_read = time.monotonic()
        self._crowd.note(self)
        return item

    @property
    def lags(self) -> bool:
        """Whether it is half full."""
        return self.qsize() * 2 >= self._limits.packets or self._size * 2 > self._limits.size

    @property
    def has_room(self) -> bool:
        """Whether there is room for what is only for this client, which can wait elsewhere.

        Far less than makes it lag: for one that lags, all that goes to everyone is held back.
        """
        return self.qsize() * ROOM < self._limits.packets and self._size * ROOM < self._limits.size

    @property
    def reads(self) -> bool:
        """Whether its client has taken something a moment ago."""
        return time.monotonic() - self._last_read < _STALLED

    def _is_full(self) -> bool:
        return self.qsize() >= self._limits.packets or self._size > self._limits.size

    def discard(self) -> None:
        """Throw away all that waits."""
        while not self.empty():
            self.get_nowait()
            self.task_done()
        self._crowd.leave(self)


def _size_of(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, str) else 0
