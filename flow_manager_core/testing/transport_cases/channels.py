"""Flows' channels over the transport: what becomes of them when a connection goes wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from flow_manager_core.channel import Channel
from flow_manager_core.contracts import Endpoint
from flow_manager_core.errors import (
    ChannelError,
    ChannelTimeout,
    FlowManagerError,
    FlowNotConnected,
)
from flow_manager_core.models import Message
from flow_manager_core.testing.transport_cases.programs import TransportPrograms

LIMIT = 1024 * 1024
REPLACED = "replaced by a newer connection"


class Witness:
    """A `ChannelListener` that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.messages: list[Message] = []

    def channel_up(self, *, reconnected: bool) -> None:
        """See `ChannelListener`."""
        self.told.append(("up", reconnected))

    def channel_down(self, reason: str) -> None:
        """See `ChannelListener`."""
        self.told.append(("down", reason))

    async def message_arrived(self, message: Message) -> None:
        """See `ChannelListener`."""
        self.messages.append(message)

    def bad_frame(self, error: ChannelError, suppressed: int) -> None:
        """See `ChannelListener`."""
        self.told.append(("bad", error.message))


class Program:
    """A flow that speaks frames over its end of a connection."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._reader = BufferedByteReceiveStream(stream)

    async def say(self, command: str, **fields: Any) -> None:
        """Send a message."""
        body = json.dumps({"command": command, **fields}).encode()
        await self.stream.send(len(body).to_bytes(4, "big") + body)

    async def hear(self) -> dict[str, Any]:
        """Wait for a message."""
        length = int.from_bytes(await self._reader.receive_exactly(4), "big")
        found: dict[str, Any] = json.loads(await self._reader.receive_exactly(length))
        return found


class ChannelCases(TransportPrograms):
    """A channel outlives its connections."""

    async def test_a_flow_that_dropped_its_connection_comes_back(self) -> None:
        async with self._channel() as (channel, witness, endpoint):
            for number in range(5):
                program = await self._joined(endpoint, channel, number + 1)
                await self._talks(channel, program)
                await program.stream.aclose()
                await self.until(lambda: not channel.connected)
            assert [what for what, _ in witness.told] == ["up", "down"] * 5
            assert [how for _, how in witness.told[::2]] == [False, True, True, True, True]
            assert {how for _, how in witness.told[1::2]} == {"closed by the flow"}

    async def test_the_newest_connection_wins_and_who_waited_for_the_old_one_is_told(self) -> None:
        async with self._channel() as (channel, witness, endpoint):
            old = await self._joined(endpoint, channel, 1)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._asks_in_vain, channel, REPLACED)
                await old.hear()
                new = await self._joined(endpoint, channel, 2)
            assert witness.told == [("up", False), ("down", REPLACED), ("up", True)]
            await self.sees_end(old.stream)
            await self._talks(channel, new)
            await old.stream.aclose()
            await new.stream.aclose()

    async def test_what_a_flow_said_before_it_came_back_is_heard_first(self) -> None:
        async with self._channel() as (channel, witness, endpoint):
            old = await self._joined(endpoint, channel, 1)
            for number in range(200):
                await old.say("count", data=number)
            new = await self._joined(endpoint, channel, 2)
            await new.say("count", data=200)
            await self.until(lambda: len(witness.messages) == 201)
            assert [message.data for message in witness.messages] == list(range(201))
            await old.stream.aclose()
            await new.stream.aclose()

    async def test_a_flow_that_ended_its_part_alone_is_disconnected(self) -> None:
        async with self._channel() as (channel, witness, endpoint):
            program = await self._joined(endpoint, channel, 1)
            await program.say("last words")
            await program.stream.send_eof()
            await self.sees_end(program.stream)
            await self.until(lambda: not channel.connected)
            assert [message.command for message in witness.messages] == ["last words"]
            assert witness.told[-1] == ("down", "closed by the flow")
            again = await self._joined(endpoint, channel, 2)
            await self._talks(channel, again)
            await program.stream.aclose()
            await again.stream.aclose()

    async def test_a_flow_that_does_not_read_times_out_and_its_channel_stays_usable(self) -> None:
        async with self._channel() as (channel, witness, endpoint):
            program = await self._joined(endpoint, channel, 1)
            with pytest.raises(ChannelTimeout):
                for _ in range(200):
                    await channel.send(Message("fill", "x" * (LIMIT // 2)), 0.1)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._reads_until, program, "after")
                await channel.send(Message("after"), self.patience)
            assert witness.told == [("up", False)]
            await program.stream.aclose()

    async def test_a_flow_that_is_frozen_is_disconnected_and_comes_back(self) -> None:
        async with self._channel(heartbeat=0.05) as (channel, witness, endpoint):
            program = await self._joined(endpoint, channel, 1)
            await program.say("hello", data={"protocol": 1, "heartbeat": True})
            ping = await program.hear()
            await program.say("pong", reply_to=ping["id"])
            await self.until(lambda: not channel.connected)
            await self.sees_end(program.stream)
            again = await self._joined(endpoint, channel, 2)
            await self._talks(channel, again)
            assert witness.told[1:] == [("down", "no sign of life for 0.15 s"), ("up", True)]
            assert witness.messages == []
            await program.stream.aclose()
            await again.stream.aclose()

    async def test_what_a_hostile_program_sends_costs_it_its_own_connection_at_most(self) -> None:
        async with self._channel() as (channel, witness, endpoint):
            program = await self._joined(endpoint, channel, 1)
            # More than five bad frames a second would be told as a number.
            for body in (b"", b'{"command":"a","command":"b"}', b"[" * 100_000):
                await program.stream.send(len(body).to_bytes(4, "big") + body)
            await self._talks(channel, program)
            await program.stream.send(b"\xff\xff\xff\xff and anything")
            await self.sees_end(program.stream)
            await self.until(lambda: not channel.connected)
            assert [what for what, _ in witness.told].count("bad") == 4
            again = await self._joined(endpoint, channel, 2)
            await again.stream.send(b"\0\0\1\0half a frame")
            await again.stream.aclose()
            await self.until(lambda: ("bad", "The connection ended within a frame") in witness.told)
            last = await self._joined(endpoint, channel, 3)
            await self._talks(channel, last)
            assert witness.messages == []
            await program.stream.aclose()
            await last.stream.aclose()

    @asynccontextmanager
    async def _channel(
        self, heartbeat: float = 10.0
    ) -> AsyncIterator[tuple[Channel, Witness, Endpoint]]:
        witness = Witness()
        channel = Channel(witness, LIMIT, _error_frame, heartbeat=heartbeat)
        async with self.open() as transport:
            yield channel, witness, await transport.open("flow", channel.serve)

    async def _joined(self, endpoint: Endpoint, channel: Channel, count: int) -> Program:
        program = Program(await self.join(endpoint))
        await self.until(lambda: channel.connections == count)
        return program

    async def _talks(self, channel: Channel, program: Program) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._answers, program)
            reply = await channel.ask(Message("ask", 7), self.patience, lambda _: None)
        assert reply.data == 7

    async def _answers(self, program: Program) -> None:
        question = await program.hear()
        while question["command"] == "error":
            question = await program.hear()
        await program.say("result", data=question["data"], reply_to=question["id"])

    async def _asks_in_vain(self, channel: Channel, reason: str) -> None:
        with anyio.fail_after(self.patience), pytest.raises(FlowNotConnected, match=reason):
            await channel.ask(Message("ask"), 10 * self.patience, lambda _: None)

    async def _reads_until(self, program: Program, command: str) -> None:
        with anyio.fail_after(self.patience):
            while (await program.hear())["command"] != command:
                continue


def _error_frame(error: FlowManagerError) -> Message:
    return Message("error", {"error_type": error.error_type, "message": error.message})
