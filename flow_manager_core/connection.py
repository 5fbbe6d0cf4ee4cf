"""One connection of a flow: whole frames in, whole frames out, over a byte stream.

A connection that is ended from this side, or can only be read from, is read until nothing more is
there: what the flow said before is not lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

import anyio
from anyio.abc import ByteStream

from flow_manager_core.errors import ChannelError
from flow_manager_core.fairness import Share
from flow_manager_core.framing import BadFrame, FrameDecoder, FramingLost
from flow_manager_core.outgoing import FrameQueue

#: Bytes asked from the kernel at once.
CHUNK = 65536
#: Looks in a row, and seconds between them, that must find nothing to be read before an ending
#: connection counts as read out. Over a Unix socket what was sent before is there at once; over TCP
#: a small last piece waits for an acknowledgement, which Linux delays by 200 ms at the most.
LOOKS = 2
LOOK = 0.12
#: Bytes that are still read of an ending connection; the kernel keeps less of one that is over.
LAST_WORDS = 4 * 1024 * 1024

FrameHandler = Callable[[bytes], Awaitable[bool]]
FaultHandler = Callable[[ChannelError], bytes | None]


class Connection:
    """Reads and writes frames until either side ends it.

    Args:
        stream: owned by the caller, who closes it when `run` has returned.
        limit: bytes of a frame's body.
        on_frame: awaited for each frame, so that a slow reader holds the flow back; tells whether
            a client waits for it; raises `BadFrame` for one that is no message.
        on_fault: told of every frame that cannot be taken; what it returns is sent back.
        share: says when it is time to let others go on.
    """

    def __init__(
        self,
        stream: ByteStream,
        limit: int,
        on_frame: FrameHandler,
        on_fault: FaultHandler,
        *,
        share: Share,
    ) -> None:
        self._stream = stream
        self._decoder = FrameDecoder(limit)
        self._on_frame = on_frame
        self._on_fault = on_fault
        self._share = share
        self._scope = anyio.CancelScope()
        self._ending = anyio.Event()
        self._frames = FrameQueue(stream, self._ending)
        self._reason = ""
        #: Whether the flow is being listened to now, and not held back.
        self.reading: bool = False
        #: Bytes that came so far.
        self.received: int = 0
        #: When the last of them came, by `monotonic`; at first: when it was made.
        self.heard_at: float = monotonic()

    async def run(self, may_read: anyio.Event) -> str:
        """Serve the connection to its end; return why it ended.

        Args:
            may_read: set once the flow may be listened to.
        """
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._frames.run)
                    group.start_soon(self._read_out)
                    await may_read.wait()
                    await self._read_frames()
                    group.cancel_scope.cancel()
        finally:
            self._frames.fail_waiting()
        return self._reason

    def end(self, reason: str) -> None:
        """End the connection from this side: write no more, and read out what was said before."""
        self._note(reason)
        self._frames.close()
        self._ending.set()

    async def write(self, frame: bytes, timeout: float) -> None:
        """Hand a frame to the kernel.

        Raises:
            ChannelTimeout: the flow did not read for `timeout` seconds. The frame is not sent,
                unless a part of it already was: then the rest follows when the flow reads on.
            FlowNotConnected: the connection ended first.
        """
        await self._frames.write(frame, timeout)

    def write_soon(self, frame: bytes) -> bool:
        """Queue a frame nobody waits for; drop it, and say so, when the flow does not read."""
        return self._frames.write_soon(frame)

    async def _read_frames(self) -> None:
        try:
            while True:
                await self._take(await self._hear())
                # A stream whose bytes are there already gives nobody else a turn.
                await self._share.spend()
        except anyio.EndOfStream:
            self._note("closed by the flow")
            if self._decoder.within_frame:
                self._fault(BadFrame("The connection ended within a frame"))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            self._note(f"connection broken: {error or type(error).__name__}")
        except FramingLost as error:
            self._fault(error)
            self._note(f"framing lost: {error}")
            # Such as the word on it.
            await self._frames.flush()

    async def _hear(self) -> bytes:
        self.reading = True
        self._share.listening()
        try:
            chunk = await self._stream.receive(CHUNK)
        finally:
            self.reading = False
        self._share.heard()
        self.received += len(chunk)
        self.heard_at = monotonic()
        return chunk

    async def _take(self, chunk: bytes) -> None:
        for found in self._decoder.feed(chunk):
            if isinstance(found, FramingLost):
                raise found
            if isinstance(found, bytes) and await self._take_frame(found):
                self._share.grant()
                continue
            if isinstance(found, ChannelError):
                self._fault(found)
            await self._share.spend()

    async def _take_frame(self, body: bytes) -> bool:
        try:
            return await self._on_frame(body)
        except BadFrame as error:
            self._fault(error)
            return False

    def _fault(self, error: ChannelError) -> None:
        answer = self._on_fault(error)
        if answer is not None:
            self.write_soon(answer)

    async def _read_out(self) -> None:
        """Let an ending connection go once nothing more is to be read from it."""
        await self._ending.wait()
        most, quiet = self.received + LAST_WORDS, 0
        while quiet < LOOKS and self.received < most:
            before = self.received
            await anyio.sleep(LOOK)
            quiet = quiet + 1 if self.reading and self.received == before else 0
        self._note("connection broken: the flow no longer reads")
        self._scope.cancel()

    def _note(self, reason: str) -> None:
        self._reason = self._reason or reason
