"""A flow's channel: questions and answers, newest connection wins, bad frames, slow readers."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
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
    ShuttingDown,
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
        self._go_on = anyio.Event()
        self._go_on.set()

    def hold(self) -> anyio.Event:
        """Hold the flow back until the event is set."""
        self._go_on = anyio.Event()
        return self._go_on

    def channel_up(self, *, reconnected: bool) -> None:
        self.told.append(("up", reconnected))

    def channel_down(self, reason: str) -> None:
        self.told.append(("down", reason))

    async def message_arrived(self, message: Message) -> None:
        self.messages.append(message)
        await self._go_on.wait()

    def bad_frame(self, error: ChannelError, suppressed: int) -> None:
        self.faults.append(error)


def error_message(error: FlowManagerError) -> Message:
    return Message("error", {"error_type": error.error_type, "message": error.message})


class Flow:
    """The other end, written from the contract."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.stream = SocketStream(connected)
        self.reader = BufferedByteReceiveStream(self.stream)

    async def send(self, **message: Any) -> None:
        await self.raw(json.dumps(message).encode())

    async def raw(self, body: bytes) -> None:
        await self.stream.send(struct.pack(">I", len(body)) + body)

    async def receive(self) -> dict[str, Any]:
        (length,) = struct.unpack(">I", await self.reader.receive_exactly(4))
        body: dict[str, Any] = json.loads(await self.reader.receive_exactly(length))
        return body


class Bench:
    def __init__(self, group: anyio.abc.TaskGroup, heartbeat: float) -> None:
        self.listener = Listener()
        self.channel = Channel(self.listener, LIMIT, error_message, heartbeat=heartbeat)
        self._group = group

    async def connect(self) -> Flow:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        stream = SocketStream(ours)
        before = self.channel.connections
        self._group.start_soon(self._serve, stream)
        await until(lambda: self.channel.connections > before)
        return Flow(theirs)

    async def _serve(self, stream: ByteStream) -> None:
        async with stream:
            await self.channel.serve(stream)


async def until(condition: Any) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)


@asynccontextmanager
async def bench(heartbeat: float = 10.0) -> AsyncIterator[Bench]:
    async with anyio.create_task_group() as group:
        yield Bench(group, heartbeat)
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


async def test_who_waits_fails_at_once_when_a_newer_connection_comes() -> None:
    async with bench() as b:
        old = await b.connect()
        failed = []

        async def ask() -> None:
            try:
                await b.channel.ask(Message("q"), 60, lambda _m: None)
            except FlowNotConnected as error:
                failed.append(error.message)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                question = await old.receive()
                new = await b.connect()
        assert "replaced by a newer connection" in failed[0]
        await new.send(command="late", reply_to=question["id"])
        await until(lambda: b.listener.messages)
        await old.stream.aclose()
        await new.stream.aclose()


async def test_what_was_said_before_a_newer_connection_came_is_heard_first() -> None:
    async with bench() as b:
        old = await b.connect()
        go_on = b.listener.hold()
        for number in range(500):
            await old.send(command="old", data=number)
        await old.stream.aclose()
        new = await b.connect()
        assert b.channel.connected
        await b.channel.send(Message("hello"), 5)
        assert (await new.receive())["command"] == "hello"
        await new.send(command="new", data=500)
        go_on.set()
        await until(lambda: len(b.listener.messages) == 501)
        assert [m.data for m in b.listener.messages] == list(range(501))
        assert [what for what, _ in b.listener.told] == ["up", "down", "up"]
        await new.stream.aclose()


async def test_connections_that_come_faster_than_they_are_heard_all_have_their_say() -> None:
    async with bench() as b:
        go_on = b.listener.hold()
        flows = [await b.connect() for _ in range(5)]
        for number, flow in reversed(list(enumerate(flows))):
            await flow.send(command="turn", data=number)
        go_on.set()
        await until(lambda: len(b.listener.messages) == 5)
        assert [m.data for m in b.listener.messages] == list(range(5))
        assert b.listener.told[-2:] == [("down", "replaced by a newer connection"), ("up", True)]
        await b.channel.send(Message("hello"), 5)
        assert (await flows[-1].receive())["command"] == "hello"
        for flow in flows:
            await flow.stream.aclose()


async def test_an_end_from_this_side_is_told_at_once_and_what_was_said_is_still_heard() -> None:
    async with bench() as b:
        flow = await b.connect()
        await flow.send(command="last words")
        b.channel.end("the run is over")
        assert b.listener.told[-1] == ("down", "the run is over")
        with pytest.raises(FlowNotConnected):
            await b.channel.send(Message("x"), 5)
        with anyio.fail_after(5), pytest.raises(anyio.EndOfStream):
            await flow.stream.receive()
        assert [m.command for m in b.listener.messages] == ["last words"]
        assert len(b.listener.told) == 2
        await flow.stream.aclose()


async def test_an_end_from_this_side_does_not_wait_for_a_flow_that_goes_on_talking() -> None:
    async with bench() as b:
        flow = await b.connect()

        async def talk() -> None:
            with suppress(anyio.BrokenResourceError):
                while True:
                    await flow.send(command="talk", data="x" * 30_000)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(talk)
                await until(lambda: b.listener.messages)
                b.channel.end("enough")
        await flow.stream.aclose()


async def test_a_flow_that_no_longer_reads_is_disconnected_by_the_next_message() -> None:
    async with bench() as b:
        flow = await b.connect()
        await flow.send(command="before")
        flow.socket.shutdown(socket.SHUT_RD)
        with pytest.raises(FlowNotConnected):
            await b.channel.send(Message("x"), 5)
        await until(lambda: not b.channel.connected)
        assert b.listener.told[-1] == ("down", "connection broken: the flow no longer reads")
        assert [m.command for m in b.listener.messages] == ["before"]
        await flow.stream.aclose()


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


async def test_an_error_that_is_over_the_limit_itself_is_told_in_short() -> None:
    async with bench() as b:
        b.channel._error_frame = lambda _error: Message("error", "x" * (LIMIT + 1))
        flow = await b.connect()
        await flow.raw(b"no JSON")
        data = (await flow.receive())["data"]
        assert (data["error"], data["error_type"]) == (True, "socket_error")
        assert data["message"]
        await flow.send(command="good")
        await until(lambda: b.listener.messages)
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


async def test_a_frame_that_has_begun_is_never_cut_and_never_overtaken() -> None:
    async with bench() as b:
        flow = await b.connect()
        written: list[int] = []
        given_up: int | None = None
        while given_up is None:
            number = len(written)
            try:
                await b.channel.send(Message(str(number), "x" * (LIMIT - 1000)), 0.05)
                written.append(number)
            except ChannelTimeout:
                given_up = number
        async with anyio.create_task_group() as group:
            heard: list[int] = []
            later = set(range(100, 110))
            for number in later:
                group.start_soon(b.channel.send, Message(str(number)), 5)
            with anyio.fail_after(5):
                while not later <= set(heard):
                    heard.append(int((await flow.receive())["command"]))
        assert heard[:-10] in (written, [*written, given_up])
        await flow.stream.aclose()


async def test_questions_fail_each_at_its_own_deadline() -> None:
    async with bench() as b:
        flow = await b.connect()
        failed: list[float] = []

        async def ask(timeout: float) -> None:
            with pytest.raises(ChannelTimeout, match=f"within {timeout:g} s"):
                await b.channel.ask(Message("q"), timeout, lambda _key: None)
            failed.append(timeout)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                for timeout in (0.3, 0.1, 0.2):
                    group.start_soon(ask, timeout)
        assert failed == [0.1, 0.2, 0.3]
        await flow.stream.aclose()


async def test_a_channel_that_gave_up_takes_no_more_questions_but_still_writes() -> None:
    async with bench() as b:
        flow = await b.connect()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:

                async def ask() -> None:
                    with pytest.raises(ShuttingDown):
                        await b.channel.ask(Message("q"), 60, lambda _key: None)

                group.start_soon(ask)
                await flow.receive()
                b.channel.give_up(lambda: ShuttingDown("over"))
            await ask()
            await b.channel.send(Message("last"), 5)
            assert (await flow.receive())["command"] == "last"
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


GREETING = {"protocol": 1, "heartbeat": True}


async def test_a_silent_flow_that_promised_to_answer_is_asked_and_lives() -> None:
    async with bench(heartbeat=0.05) as b:
        flow = await b.connect()
        await flow.send(command="hello", data={**GREETING, "from the future": [1]})
        ids = set()
        for _ in range(10):
            ping = await flow.receive()
            assert ping["command"] == "ping"
            ids.add(ping["id"])
            await flow.send(command="pong", reply_to=ping["id"])
        assert len(ids) == 10
        assert b.listener.told == [("up", False)]
        assert b.listener.messages == []
        assert b.channel.last_communication is None
        await flow.stream.aclose()


async def test_a_flow_without_a_sign_of_life_is_disconnected() -> None:
    async with bench(heartbeat=0.05) as b:
        flow = await b.connect()
        begun = anyio.current_time()
        await flow.send(command="hello", data=GREETING)
        await until(lambda: not b.channel.connected)
        assert anyio.current_time() - begun > 0.15
        assert b.listener.told[-1] == ("down", "no sign of life for 0.15 s")
        assert [(await flow.receive())["command"] for _ in range(2)] == ["ping", "ping"]
        with pytest.raises(anyio.IncompleteRead):
            await flow.receive()
        await flow.stream.aclose()


async def test_any_frame_is_a_sign_of_life() -> None:
    async with bench(heartbeat=0.1) as b:
        flow = await b.connect()
        await flow.send(command="hello", data=GREETING)
        for number in range(50):
            await flow.send(**[{"command": "pong"}, {"command": "busy"}][number % 2])
            await anyio.sleep(0.01)
        assert b.channel.connected
        assert {m.command for m in b.listener.messages} == {"busy"}
        await flow.stream.aclose()


async def test_a_flow_that_is_held_back_is_not_taken_for_dead() -> None:
    async with bench(heartbeat=0.02) as b:
        flow = await b.connect()
        await flow.send(command="hello", data=GREETING)
        go_on = b.listener.hold()
        await flow.send(command="wait")
        await anyio.sleep(0.3)
        assert b.channel.connected
        go_on.set()
        assert (await flow.receive())["command"] == "ping"
        await flow.stream.aclose()


@pytest.mark.parametrize(
    "first",
    [
        {"command": "hello"},
        {"command": "hello", "data": {"ready": True}},
        {"command": "hello", "data": {"protocol": "1"}},
        {"command": "hello", "data": {"protocol": 0, "heartbeat": True}},
        {"command": "hello", "data": {"protocol": True, "heartbeat": True}},
        {"command": "hello", "data": {"protocol": 1, "heartbeat": 1}},
        {"command": "note", "data": GREETING},
    ],
)
async def test_who_does_not_greet_is_never_asked(first: dict[str, Any]) -> None:
    async with bench(heartbeat=0.02) as b:
        flow = await b.connect()
        await flow.send(**first)
        await flow.send(command="hello", data=GREETING)
        await flow.send(command="pong")
        await until(lambda: len(b.listener.messages) == 3)
        await anyio.sleep(0.2)
        assert b.channel.connected
        assert [m.command for m in b.listener.messages] == [first["command"], "hello", "pong"]
        await b.channel.send(Message("first"), 5)
        assert (await flow.receive())["command"] == "first"
        await flow.stream.aclose()


@pytest.mark.parametrize(
    ("heartbeat", "greeting"), [(0.02, {"protocol": 1}), (0.0, GREETING)], ids=["flow", "manager"]
)
async def test_either_side_can_do_without(heartbeat: float, greeting: dict[str, Any]) -> None:
    async with bench(heartbeat=heartbeat) as b:
        flow = await b.connect()
        await flow.send(command="hello", data=greeting)
        await anyio.sleep(0.2)
        assert b.channel.connected
        assert b.listener.messages == []
        await b.channel.send(Message("first"), 5)
        assert (await flow.receive())["command"] == "first"
        await flow.stream.aclose()


async def test_a_clients_own_ping_is_answered_to_the_client() -> None:
    async with bench() as b:
        flow = await b.connect()
        await flow.send(command="hello", data=GREETING)

        async def answer() -> None:
            ping = await flow.receive()
            await flow.send(command="pong", data="mine", reply_to=ping["id"])

        async with anyio.create_task_group() as group:
            group.start_soon(answer)
            reply = await b.channel.ask(Message("ping", id="x1"), 5, lambda _m: None)
        assert reply.data == "mine"
        await flow.send(command="pong", reply_to="x1")
        await until(lambda: b.listener.messages)
        await flow.stream.aclose()


@pytest.mark.blocks_loop
async def test_a_manager_that_was_itself_frozen_does_not_blame_its_flows() -> None:
    async with bench(heartbeat=0.1) as b:
        flow = await b.connect()
        await flow.send(command="hello", data=GREETING)
        for _ in range(3):
            ping = await flow.receive()
            await flow.send(command="pong", reply_to=ping["id"])
            time.sleep(0.5)  # noqa: ASYNC251  # the whole process, as SIGSTOP would
        assert b.listener.told == [("up", False)]
        await flow.stream.aclose()
