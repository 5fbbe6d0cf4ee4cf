"""Signs of life: asks a flow that has gone silent whether it is still there.

A connection to a program that is frozen, or to a host that is gone, looks like one to a program
that has nothing to say. Only a flow that promised to answer can be asked: its first frame is

    {"command": "hello", "data": {"protocol": 1, "heartbeat": true}}

From protocol 2 on it may say as well that it takes part in durable messages (see `durable`).

Whatever arrives is a sign of life. Silence is counted in questions that stayed unanswered, not
taken from the clock: a manager that was itself frozen must not blame its flows for that.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from itertools import count
from math import ceil
from time import monotonic

import anyio
from attrs import frozen

from flow_manager_core.connection import Connection
from flow_manager_core.framing import encode_frame
from flow_manager_core.models import Message

HELLO = "hello"
PING = "ping"
PONG = "pong"
#: The first protocol that knows durable messages.
DURABLE = 2
#: Characters of the name of a flow's numbers.
SOURCE = 64
#: The ids of our questions begin with this.
ID_PREFIX = "fm-ping-"
#: Intervals of silence that end a connection.
MISSED = 3
#: Moments of an interval at which flows are asked.
STEPS = 32


@frozen
class DurableHello:
    """What a flow says that takes durable messages, and sends such.

    Args:
        source: names the numbers of what it sends.
        epoch: of the journal whose messages it last took; empty: of none.
        seen: the last number of that epoch that it has dealt with.
    """

    source: str
    epoch: str
    seen: int


@frozen
class Hello:
    """What a flow says of itself when it connects.

    Args:
        protocol: the version of the channel's protocol that it speaks.
        heartbeat: whether it answers every ``ping``, whatever else it is doing.
        durable: whether, and from where on, it takes part in durable messages.
    """

    protocol: int
    heartbeat: bool = False
    durable: DurableHello | None = None


def read_hello(message: Message) -> Hello | None:
    """Read a first frame; ``None`` when it is an ordinary message."""
    data = message.data
    if message.command != HELLO or not isinstance(data, Mapping):
        return None
    protocol, heartbeat = data.get("protocol"), data.get("heartbeat", False)
    if type(protocol) is not int or protocol < 1 or type(heartbeat) is not bool:
        return None
    if protocol < DURABLE or "durable" not in data:
        return Hello(protocol, heartbeat)
    durable = _read_durable(data["durable"])
    return None if durable is None else Hello(protocol, heartbeat, durable)


def _read_durable(data: object) -> DurableHello | None:
    if not isinstance(data, Mapping):
        return None
    source, epoch, seen = (data.get(name) for name in ("source", "epoch", "seen"))
    if not isinstance(source, str) or not 0 < len(source) <= SOURCE or not source.isprintable():
        return None
    if not isinstance(epoch, str) or len(epoch) > SOURCE:
        return None
    if type(seen) is not int or seen < 0:
        return None
    return DurableHello(source, epoch, seen)


class Heartbeat:
    """Watches over one connection.

    Args:
        interval: seconds of silence after which the flow is asked; 0: it never is.
        limit: bytes of one message's JSON.
    """

    def __init__(self, interval: float, limit: int) -> None:
        self._interval = interval
        self._limit = limit
        self._ids = (f"{ID_PREFIX}{secrets.token_hex(4)}-{number}" for number in count(1))
        self._first = True
        self._promised = anyio.Event()
        #: What the connection's greeting said of durable messages.
        self.durable: DurableHello | None = None

    def greeted(self, message: Message) -> bool:
        """Take a message as it comes; tell whether it is the connection's greeting."""
        first, self._first = self._first, False
        hello = read_hello(message) if first else None
        if hello is not None:
            self.durable = hello.durable
        if hello is not None and hello.heartbeat:
            self._promised.set()
        return hello is not None

    def answered(self, message: Message) -> bool:
        """Whether a message says nothing but that the flow lives, asked or not."""
        if message.command != PONG or not self._promised.is_set():
            return False
        return message.reply_to is None or message.reply_to.startswith(ID_PREFIX)

    async def run(self, connection: Connection) -> None:
        """Ask whenever there is silence, and end the connection when it lasts."""
        await self._promised.wait()
        if self._interval <= 0:
            return
        silent, since = 0, connection.heard_at
        while silent < MISSED:
            before = connection.received
            await anyio.sleep(max(0, self._due(since) - monotonic()))
            if connection.received != before:
                silent, since = 0, connection.heard_at
                continue
            since = monotonic()
            # A flow that this side holds back has no chance to be heard.
            silent = silent + 1 if connection.reading else 0
            if 0 < silent < MISSED:
                connection.write_soon(encode_frame(Message(PING, id=next(self._ids)), self._limit))
        connection.end(f"no sign of life for {MISSED * self._interval:g} s")

    def _due(self, since: float) -> float:
        """When to look after a silence; somewhat later, so that many connections are due at once.

        A process that wakes for one of them pays more for waking than for the question.
        """
        step = self._interval / STEPS
        return ceil((since + self._interval) / step) * step
