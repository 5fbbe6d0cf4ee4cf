"""A flow's channel: questions and answers, newest connection wins, bad frames, slow readers."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from flow_manager_core.channel import Channel
from flow_manager_core.errors import (
    ChannelError,
    ChannelTimeout,
    FlowManagerError,
    FlowNotConnected,
)
from flow_manager_core.models import Message
from flow_manager_core.socket_stream import SocketStream

pytestmark = pytest.mark.anyio
LIMIT = 64 * 1024


class Listener:
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.messages: list[Message] = []
        self.faults: list[ChannelError] = []

    def channel_up(self, *, reconnected: bool) -> None:
        self.told.append(("up", reconnected))

    def channel_down(self, reason: str) -> None:
        self.told.append(("down", reason))

    async def message_arrived(self, message: Message) -> None:
        self.messages.append(message)

    def bad_frame(self, error: ChannelError, suppressed: int) -> None:
        self.faults.append(error)


def error_message(error: FlowManagerError) -> Message:
    return Message("error", {"error_type": error.error_type, "message": error.message})


class Flow:
    """The other end, written from the contract."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.reader = BufferedByteReceiveStream(stream)

    async def send(self, **message: Any) -> None:
        await self.raw(json.dumps(message).encode())

    async def raw(self, body: bytes) -> None:
        await self.stream.send(struct.pack(">I", len(body)) + body)

    async def receive(self) -> dict[str, Any]:
        (length,) = struct.unpack(">I", await self.reader.receive_exactly(4))
        body: dict[str, Any] = json.loads(await self.reader.receive_exactly(length))
        return body


class Bench:
    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self.listener = Listener()
        self.channel = Channel(self.listener, LIMIT, error_message)
        self._group = group

    async def connect(self) -> Flow:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        stream = SocketStream(ours)
        before = len(self.listener.told)
        self._group.start_soon(self._serve, stream)
        await until(lambda: len(self.listener.told) > before)
        return Flow(SocketStream(theirs))

    async def _serve(self, stream: ByteStream) -> None:
        async with stream:
            await self.channel.serve(stream)


async def until(condition: Any) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with anyio.create_task_group() as group:
        yield Bench(group)
        group.cancel_scope.cancel()


async def test_messages_go_both_ways_and_keep_their_order() -> None:
    async with bench() as b:
        flow = await b.connect()
        for number in range(200):
            await b.channel.send(Message("to", number), 5)
            await flow.send(command="from", data=number)
        assert [(await flow.receive())["data"] for _ in range(200)] == list(range(200))
        await until(lambda: len(b.listener.messages) == 200)
        assert [m.data for m in b.listener.messages] == list(range(200))
        await flow.stream.aclose()


async def test_answers_find_their_questions_in_any_order() -> None:
    async with bench() as b:
        flow = await b.connect()
        answers: dict[int, Any] = {}

        async def ask(number: int) -> None:
            reply = await b.channel.ask(Message("ask", number), 5, lambda _m: None)
            answers[number] = reply.data

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(ask, number)
            questions = [await flow.receive() for _ in range(10)]
            for question in reversed(questions):
                await flow.send(command="result", data=-question["data"], reply_to=question["id"])
        assert answers == {n: -n for n in range(10)}
        assert b.listener.messages == []
        await flow.stream.aclose()


async def test_an_answer_too_late_is_a_timeout_and_the_channel_stays_usable() -> None:
    async with bench() as b:
        flow = await b.connect()
        with pytest.raises(ChannelTimeout):
            await b.channel.ask(Message("slow"), 0.05, lambda _m: None)
        late = await flow.receive()
        await flow.send(command="result", reply_to=late["id"])
        await until(lambda: b.listener.messages)
        await b.channel.send(Message("again"), 5)
        assert (await flow.receive())["command"] == "again"
        await flow.stream.aclose()


async def test_who_waits_fails_at_once_when_the_flow_goes_away() -> None:
    async with bench() as b:
        flow = await b.connect()
        failed = []

        async def ask() -> None:
            try:
                await b.channel.ask(Message("q"), 60, lambda _m: None)
            except FlowNotConnected as error:
                failed.append(error)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await flow.receive()
                await flow.stream.aclose()
        assert "closed by the flow" in failed[0].message
        assert not b.channel.connected
        with pytest.raises(FlowNotConnected):
            await b.channel.send(Message("x"), 5)


async def test_the_newest_connection_wins() -> None:
    async with bench() as b:
        old = await b.connect()
        new = await b.connect()
        assert b.listener.told == [
            ("up", False),
            ("down", "replaced by a newer connection"),
            ("up", True),
        ]
        with pytest.raises(anyio.EndOfStream):
            await old.stream.receive()
        await b.channel.send(Message("hello"), 5)
        assert (await new.receive())["command"] == "hello"
        await old.stream.aclose()
        await new.stream.aclose()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"command": 5}',
        b'{"command": "x", "id": 7}',
        b'{"command": "x", "data": NaN}',
        b'{"command": "x", "command": "y"}',
        b'{"command": "x", "data": "\\ud800"}',
        b"\xff\xfe",
        b'{"command": "x", "data": ' + b"[" * 20000 + b"]" * 20000 + b"}",
        b'{"command": "x", "data": ' + b"9" * 5000 + b"}",
        b'{"command": "x", "data": 1e999}',
    ],
)
async def test_a_bad_frame_is_answered_and_the_next_one_is_taken(body: bytes) -> None:
    async with bench() as b:
        flow = await b.connect()
        await flow.raw(body)
        answer = await flow.receive()
        assert answer["command"] == "error"
        assert answer["data"]["error_type"] == "socket_error"
        await flow.send(command="good")
        await until(lambda: b.listener.messages)
        assert len(b.listener.faults) == 1
        await flow.stream.aclose()


async def test_an_oversized_frame_is_skipped_whole() -> None:
    async with bench() as b:
        flow = await b.connect()
        await flow.raw(b"x" * (LIMIT + 1))
        await flow.send(command="good")
        await until(lambda: b.listener.messages)
        assert (await flow.receive())["command"] == "error"
        await flow.stream.aclose()


async def test_a_lost_framing_is_told_to_the_flow_and_ends_the_connection() -> None:
    async with bench() as b:
        flow = await b.connect()
        await flow.stream.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await flow.receive())["command"] == "error"
        await until(lambda: not b.channel.connected)
        assert b.listener.told[-1][1].startswith("framing lost")
        await flow.stream.aclose()


async def test_a_flood_of_bad_frames_is_told_a_few_times_a_second() -> None:
    async with bench() as b:
        flow = await b.connect()
        await flow.stream.send(b"\0\0\0\1x" * 1000)
        await flow.send(command="end")
        await until(lambda: b.listener.messages)
        assert 1 <= len(b.listener.faults) <= 20
        await flow.stream.aclose()


async def test_a_flow_that_does_not_read_times_out_its_sender_and_not_for_ever() -> None:
    async with bench() as b:
        flow = await b.connect()
        big = Message("big", "x" * (LIMIT // 2))
        with pytest.raises(ChannelTimeout):
            for _ in range(200):
                await b.channel.send(big, 0.1)
        received = await flow.receive()
        assert received["command"] == "big"

        async def drain() -> None:
            while (await flow.receive())["command"] != "after":
                pass

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(drain)
                await b.channel.send(Message("after"), 5)
        await flow.stream.aclose()


async def test_a_message_over_the_limit_is_refused_before_it_is_sent() -> None:
    async with bench() as b:
        flow = await b.connect()
        with pytest.raises(ChannelError, match="over the limit"):
            await b.channel.send(Message("big", "x" * LIMIT), 5)
        await flow.stream.aclose()


async def test_two_questions_of_one_id_do_not_mix() -> None:
    async with bench() as b:
        flow = await b.connect()
        async with anyio.create_task_group() as group:
            group.start_soon(b.channel.ask, Message("q", id="same"), 5, lambda _m: None)
            await flow.receive()
            with pytest.raises(ChannelError, match="already waits"):
                await b.channel.ask(Message("q", id="same"), 5, lambda _m: None)
            await flow.send(command="result", reply_to="same")
        await flow.stream.aclose()


async def test_what_a_flow_said_before_it_went_is_heard_though_it_cannot_be_answered() -> None:
    async with bench() as b:
        flow = await b.connect()
        await flow.raw(b"bad")
        for number in range(300):
            await flow.send(command="last words", data=number)
        await flow.stream.aclose()
        await until(lambda: not b.channel.connected)
        assert [m.data for m in b.listener.messages] == list(range(300))
