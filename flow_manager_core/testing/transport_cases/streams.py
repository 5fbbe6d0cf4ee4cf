"""What arrives: every byte, in order, however it was cut, and only as fast as it is read."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import anyio
from anyio.abc import ByteStream

from flow_manager_core.framing import FrameDecoder, decode_message, encode_frame
from flow_manager_core.models import Message
from flow_manager_core.testing.transport_cases.programs import (
    OVER,
    Keeper,
    TransportPrograms,
    echo,
)

LIMIT = 1024 * 1024
#: More bytes than any transport should keep for somebody who does not read.
FLOOD = 64 * 1024 * 1024


class StreamCases(TransportPrograms):
    """Bytes in order, and back pressure."""

    async def test_many_frames_keep_their_order_in_both_directions(self) -> None:
        sent = [Message("number", number) for number in range(5000)]
        await self._echoes(sent, [b"".join(encode_frame(m, LIMIT) for m in sent)])

    async def test_frames_may_be_cut_anywhere(self) -> None:
        sent = [Message("cut", "x" * size) for size in (0, 1, 5, 300, 70_000)]
        whole = b"".join(encode_frame(message, LIMIT) for message in sent)
        await self._echoes(sent, cut_at_random(whole))

    async def test_a_frame_may_come_byte_by_byte(self) -> None:
        sent = [Message("slow", {"n": 1}), Message("slow", {"n": 2})]
        whole = b"".join(encode_frame(message, LIMIT) for message in sent)
        await self._echoes(sent, [bytes([byte]) for byte in whole])

    async def test_a_frame_of_the_whole_limit_passes(self) -> None:
        sent = [Message("large", "x" * (LIMIT - 100))]
        await self._echoes(sent, [encode_frame(sent[0], LIMIT)])

    async def test_what_was_sent_before_a_close_arrives(self) -> None:
        async def tell(stream: ByteStream) -> None:
            await stream.send(b"last words")

        async with self.open() as transport:
            endpoint = await transport.open("flow", tell)
            async with await self.join(endpoint) as stream:
                await anyio.sleep(0.05)
                assert await self.read(stream, 10) == b"last words"
                await self.sees_end(stream)

    async def test_a_program_that_ends_its_part_is_seen_as_ended_and_can_be_answered(self) -> None:
        async def answer_at_end(stream: ByteStream) -> None:
            heard = b"".join([piece async for piece in stream])
            await stream.send(heard.upper())

        async with self.open() as transport:
            endpoint = await transport.open("flow", answer_at_end)
            async with await self.join(endpoint) as stream:
                await stream.send(b"that is all")
                await stream.send_eof()
                assert await self.read(stream, 11) == b"THAT IS ALL"
                await self.sees_end(stream)

    async def test_a_program_that_goes_away_is_seen_as_ended(self) -> None:
        async def note_end(stream: ByteStream) -> None:
            try:
                await stream.receive()
            except OVER:
                ended.set()

        ended = anyio.Event()
        async with self.open() as transport:
            endpoint = await transport.open("flow", note_end)
            stream = await self.join(endpoint)
            await stream.aclose()
            with anyio.fail_after(self.patience):
                await ended.wait()

    async def test_who_does_not_read_holds_back_the_sender_and_nobody_else(self) -> None:
        keeper = Keeper()
        async with self.open() as transport:
            lazy = await transport.open("lazy", keeper)
            sound = await transport.open("sound", echo)
            async with await self.join(lazy), await self.join(sound) as neighbour:
                await self.until(lambda: len(keeper.streams) == 1)
                with anyio.move_on_after(0.3) as waited:
                    for _ in range(FLOOD // 65536):
                        await keeper.streams[0].send(b"x" * 65536)
                assert waited.cancelled_caught
                await self.says(neighbour, b"as ever")

    async def _echoes(self, sent: Sequence[Message], pieces: Sequence[bytes]) -> None:
        async with self.open() as transport:
            endpoint = await transport.open("flow", echo)
            async with await self.join(endpoint) as stream, anyio.create_task_group() as tasks:
                tasks.start_soon(send_all, stream, pieces)
                with anyio.fail_after(self.patience):
                    found = await receive_messages(stream, len(sent))
        assert found == sent


def cut_at_random(whole: bytes) -> list[bytes]:
    """Cut bytes into pieces of 1 to 3,000, the same ones each time."""
    chance = random.Random(20)

    def cut() -> Iterator[bytes]:
        start = 0
        while start < len(whole):
            end = start + chance.choice((1, 2, 3, 5, 100, 3000))
            yield whole[start:end]
            start = end

    return list(cut())


async def send_all(stream: ByteStream, pieces: Sequence[bytes]) -> None:
    """Send the pieces one by one."""
    for piece in pieces:
        await stream.send(piece)


async def receive_messages(stream: ByteStream, count: int) -> list[Message]:
    """Read as many messages."""
    decoder = FrameDecoder(LIMIT)
    found: list[Message] = []
    while len(found) < count:
        for body in decoder.feed(await stream.receive()):
            assert isinstance(body, bytes)
            found.append(decode_message(body))
    return found
