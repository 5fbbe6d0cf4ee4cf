"""What goes out over one connection: whole frames, one after the other.

A frame that has begun to be written is never cut: cancelling a write in its middle would lose the
framing. A frame that finds nothing before it goes to the kernel at once, and is done if that takes
all of it: handing it to another task and hearing of it again costs more than all else that is done
for a message. Otherwise callers queue and one task writes; a caller that gives up takes its frame
out again unless it is on its way.
"""

from __future__ import annotations

import anyio
from anyio.abc import ByteStream
from attrs import define, field

from flow_manager_core.errors import ChannelTimeout, FlowNotConnected
from flow_manager_core.socket_stream import SocketStream

#: Frames that may wait for a flow that does not read; the next caller waits with a deadline.
OUTBOX = 64
#: Seconds for the last frames when this side closes.
FLUSH = 0.5
#: What a stream raises that nobody reads from any more.
BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


@define(eq=False)
class _Outgoing:
    """A frame, or the rest of one.

    Args:
        begun: its beginning was written, so the rest has to follow.
    """

    data: bytes
    begun: bool = False
    abandoned: bool = False
    done: anyio.Event = field(factory=anyio.Event)
    written: bool = False


class FrameQueue:
    """Writes frames until it is closed or nobody reads them.

    Args:
        stream: nobody else writes to it.
        broken: set when nobody reads any more.
    """

    def __init__(self, stream: ByteStream, broken: anyio.Event) -> None:
        self._stream = stream
        self._broken = broken
        self._send_now = stream.send_now if isinstance(stream, SocketStream) else None
        self._send, self._receive = anyio.create_memory_object_stream[_Outgoing](OUTBOX)
        self._scope = anyio.CancelScope()
        #: Whether the task that writes waits for a frame, and none is queued.
        self._idle = False
        self._written_out = anyio.Event()

    async def write(self, frame: bytes, timeout: float) -> None:
        """Hand a frame to the kernel.

        Raises:
            ChannelTimeout: the flow did not read for `timeout` seconds. The frame is not sent,
                unless a part of it already was: then the rest follows when the flow reads on.
            FlowNotConnected: the connection ended first.
        """
        taken = self._write_now(frame)
        if taken < len(frame):
            await self._write_in_turn(_Outgoing(frame[taken:], begun=taken > 0), timeout)

    def write_soon(self, frame: bytes) -> bool:
        """Write a frame nobody waits for; drop it, and say so, when the flow does not read."""
        try:
            taken = self._write_now(frame)
            if taken < len(frame):
                self._queue(_Outgoing(frame[taken:], begun=taken > 0))
        except (FlowNotConnected, anyio.WouldBlock, *BROKEN):
            return False
        return True

    async def run(self) -> None:
        """Write what is queued, until cancelled or closed."""
        try:
            with self._scope:
                while True:
                    await self._write_one(await self._next())
        except anyio.EndOfStream:
            self._written_out.set()
        except BROKEN:
            self._break()
        finally:
            self._idle = False

    async def flush(self) -> None:
        """Take no more, and give what is queued a moment to be written."""
        self._take_no_more()
        with anyio.move_on_after(FLUSH):
            await self._written_out.wait()

    def close(self) -> None:
        """Write no more, and fail those who wait."""
        self._scope.cancel()
        self.fail_waiting()

    def fail_waiting(self) -> None:
        """Take no more, and let go of those whose frames are queued."""
        self._take_no_more()
        while True:
            try:
                self._receive.receive_nowait().done.set()
            except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
                break
        self._receive.close()

    def _write_now(self, frame: bytes) -> int:
        """Write what the kernel takes at once, if it is this frame's turn; say how much that is."""
        if not self._idle or self._send_now is None:
            return 0
        try:
            return self._send_now(frame)
        except BROKEN:
            self._break()
            raise FlowNotConnected("The flow's connection ended") from None

    async def _write_in_turn(self, outgoing: _Outgoing, timeout: float) -> None:
        try:
            with anyio.fail_after(timeout):
                await self._queue_up(outgoing)
                await outgoing.done.wait()
        except TimeoutError:
            raise ChannelTimeout(f"The flow did not read for {timeout:g} s") from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise FlowNotConnected("The flow's connection ended") from None
        finally:
            if not outgoing.begun:
                # Its place in the queue may be kept for as long as the flow does not read.
                outgoing.abandoned, outgoing.data = True, b""
        if not outgoing.written:
            raise FlowNotConnected("The flow's connection ended before the message was sent")

    async def _queue_up(self, outgoing: _Outgoing) -> None:
        try:
            # Without a wait where there is room: nothing may come between the parts of a frame.
            self._queue(outgoing)
        except anyio.WouldBlock:
            await self._send.send(outgoing)

    def _queue(self, outgoing: _Outgoing) -> None:
        self._idle = False
        self._send.send_nowait(outgoing)

    async def _next(self) -> _Outgoing:
        try:
            return self._receive.receive_nowait()
        except anyio.WouldBlock:
            self._idle = True
            return await self._receive.receive()

    async def _write_one(self, outgoing: _Outgoing) -> None:
        try:
            if not outgoing.abandoned:
                await self._stream.send(outgoing.data)
                outgoing.written = True
        finally:
            outgoing.done.set()

    def _break(self) -> None:
        # Whether somebody still talks is for the reader to see.
        self.fail_waiting()
        self._broken.set()

    def _take_no_more(self) -> None:
        self._idle = False
        self._send.close()
