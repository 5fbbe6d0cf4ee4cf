"""A container's channel, through all the connections that its program makes.

The newest connection wins: a program that connects again has lost its old connection, whether or
not this side has seen it end. Whoever waits for an answer fails at once when the connection ends.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from time import time
from typing import Any, Protocol

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream

from flow_manager_core.connection import Connection
from flow_manager_core.errors import ChannelError, FlowManagerError, FlowNotConnected
from flow_manager_core.fairness import Fairness, Share
from flow_manager_core.framing import BadFrame, decode_message, encode_frame
from flow_manager_core.heartbeat import Heartbeat
from flow_manager_core.lines import Line, LineMaker
from flow_manager_core.models import Message
from flow_manager_core.questions import Questions
from flow_manager_core.throttle import Pace, Throttle
from flow_manager_core.wire import plain

#: Seconds between two connections of one flow, once `AT_ONCE` came without a pause. Each costs
#: clients four events; a program that comes back after every break has a pause of its own.
COMING, AT_ONCE = 0.05, 20
#: Why a connection ended that the manager itself gave up.
CLOSED = "closed by the manager"
#: Characters of a failure's message that a flow is told where the whole is over the limit.
SHORT = 100


class ChannelListener(Protocol):
    """Who is told what happens on a channel."""

    def channel_up(self, *, reconnected: bool) -> None:
        """A connection is there."""

    def channel_down(self, reason: str) -> None:
        """It ended."""

    async def message_arrived(self, message: Message) -> None:
        """A message that answers nobody's question; returning late holds the flow back."""

    def bad_frame(self, error: ChannelError, suppressed: int) -> None:
        """A frame could not be taken; `suppressed` others before it were not told."""


class Channel:
    """What clients say to one flow goes through here, and what it says comes from here.

    Args:
        limit: bytes of one message's JSON.
        error_frame: the body of the frame that tells a flow of a bad frame.
        heartbeat: seconds of silence after which a flow that can answer is asked for a sign of
            life; 0: never.
        fairness: of all channels that share an event loop; left out: this channel is alone.
        lines: makes each connection's line; left out: there are no durable messages.
    """

    def __init__(
        self,
        listener: ChannelListener,
        limit: int,
        error_frame: Callable[[FlowManagerError], Message],
        *,
        heartbeat: float = 10.0,
        fairness: Fairness | None = None,
        lines: LineMaker = Line,
    ) -> None:
        self._listener = listener
        self._limit = limit
        self._error_frame = error_frame
        self._heartbeat = heartbeat
        self._lines = lines
        self._fairness = fairness or Fairness()
        self._share = Share(self._fairness)
        self._connection: Connection | None = None
        self._questions = Questions()
        self._was_connected = False
        #: Set once the newest connection was read to its end.
        self._over = anyio.Event()
        self._over.set()
        #: Connections so far.
        self.connections: int = 0
        self._faults = Throttle()
        self._coming = Pace(COMING, AT_ONCE)
        self._communicated_at: float | None = None

    @property
    def connected(self) -> bool:
        """Whether the flow has a connection now."""
        return self._connection is not None

    @property
    def last_communication(self) -> datetime | None:
        """When something was last written or heard; ``None``: never."""
        at = self._communicated_at
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def assume_seen(self) -> None:
        """The flow had a channel in an earlier life of the manager: what comes is a reconnect."""
        self._was_connected = True

    async def serve(self, stream: ByteStream) -> None:
        """Serve one connection to its end; a `ConnectionHandler` for transports.

        What the flow still said over its former connection comes before what it says over this.
        """
        await self._coming.turn()
        heartbeat, line = Heartbeat(self._heartbeat, self._limit), self._lines()
        connection = Connection(
            stream,
            self._limit,
            partial(self._on_frame, heartbeat, line),
            self._on_fault,
            share=self._share,
        )
        before, over = self._over, anyio.Event()
        self._over = over
        self._came(connection)
        reason = CLOSED
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(heartbeat.run, connection)
                group.start_soon(line.run, connection)
                group.start_soon(self._faults.run, self._tell_suppressed)
                group.start_soon(self._questions.watch)
                reason = await connection.run(before)
                group.cancel_scope.cancel()
        finally:
            line.ended(told=reason != CLOSED)
            over.set()
            self._lost(connection, reason)
            self._faults.settle(self._tell_suppressed)

    def end(self, reason: str) -> None:
        """End the connection, if there is one; what the flow has said before is still heard."""
        if self._connection is not None:
            self._connection.end(reason)
            self._lost(self._connection, reason)

    def give_up(self, failure: Callable[[], FlowManagerError]) -> None:
        """The manager closes: whoever waits for an answer gets a failure, now and from now on."""
        self._questions.close(failure)

    async def send(self, message: Message, timeout: float) -> None:
        """Write a message to the flow.

        Raises:
            FlowNotConnected: there is no connection, or it ended.
            ChannelTimeout: the flow does not read.
            ChannelError: the message is over the limit.
        """
        frame = encode_frame(message, self._limit)
        # The kernel may take each frame at once: who sends many must not keep the loop to itself.
        await anyio.lowlevel.checkpoint()
        await self._write(frame, timeout)

    async def ask(self, message: Message, timeout: float, sent: Callable[[str], None]) -> Message:
        """Write a question and wait for its answer.

        Args:
            message: goes out with an id, if it has none.
            timeout: seconds for both together.
            sent: called with the id once it is written.

        Raises:
            ChannelTimeout: no answer in time; a late one arrives as an ordinary message.
            FlowNotConnected: there is no connection, or it ended before the answer.
            ChannelError: too many questions wait already, or this one's id does.
        """
        question = self._questions.register(message.id, timeout)
        try:
            await self._write(encode_frame(message, self._limit, question.key), timeout)
            sent(question.key)
            return await question.answer()
        finally:
            self._questions.forget(question)

    async def _write(self, frame: bytes, timeout: float) -> None:
        if self._connection is None:
            raise FlowNotConnected("The flow is not connected")
        self._share.others_notice()
        await self._connection.write(frame, timeout)
        self._communicated_at = time()

    async def _on_frame(self, heartbeat: Heartbeat, line: Line, body: bytes) -> bool:
        """Take a frame; tell whether a client waits for it."""
        message = decode_message(body)
        greeting = heartbeat.greeted(message)
        if greeting:
            await line.greeted(heartbeat.durable)
        answered_by = self._questions.answered_by
        durable = line.on and await line.take(message, len(body), answered_by)
        asked = not durable and answered_by(message)
        if not asked and not durable and (greeting or heartbeat.answered(message)):
            return False
        self._share.others_notice()
        self._communicated_at = time()
        if not asked and not durable:
            await self._listener.message_arrived(message)
        return asked

    def _on_fault(self, error: ChannelError) -> bytes | None:
        if not self._faults.allow():
            return None
        self._listener.bad_frame(error, self._faults.take_suppressed())
        try:
            return encode_frame(self._error_frame(error), self._limit)
        except BadFrame:  # the format says more than a frame may hold
            return encode_frame(Message("error", _in_short(error)), self._limit)

    def _tell_suppressed(self, count: int) -> None:
        told = "Bad frames came faster than they are told one by one"
        self._listener.bad_frame(BadFrame(told), count)

    def _came(self, connection: Connection) -> None:
        self.end("replaced by a newer connection")
        self._connection = connection
        self.connections += 1
        reconnected, self._was_connected = self._was_connected, True
        self._listener.channel_up(reconnected=reconnected)

    def _lost(self, connection: Connection, reason: str) -> None:
        if self._connection is not connection:
            return
        self._connection = None
        told = f"The flow went away before it answered: {reason}"
        self._questions.fail(lambda: FlowNotConnected(told))
        self._listener.channel_down(reason)


def _in_short(error: FlowManagerError) -> dict[str, Any]:
    """What the smallest frame has room for, with every character escaped."""
    return {"error": True, "error_type": error.error_type, "message": plain(error.message[:SHORT])}
