"""The inside of the engine's proxy: one event loop that passes calls on, and the rules for it."""

from __future__ import annotations

import asyncio
import json
import re
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import Coroutine
from contextlib import suppress
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field

from tests.support.http_wire import PIECE, Head, read_body, read_head

T = TypeVar("T")


class Fault(Enum):
    """What may happen to a call."""

    LOSE_REPLY = "the engine does it; its reply never comes"
    CUT_REPLY = "the engine does it; the connection is cut instead of the reply"
    HOLD = "the engine never hears of it, and no reply comes"
    FAIL = "the engine never hears of it; the reply is an error"


@define(eq=False)
class Rule:
    """What happens to the calls that match.

    Args:
        call: sought in the method and the path with its query, as ``POST /v1.41/...``.
        times: how many calls it takes, ``None`` for all.
        status: of the error.
    """

    call: re.Pattern[str]
    fault: Fault
    times: int | None = None
    status: int = 500
    hits: int = 0

    def takes(self, call: str) -> bool:
        """Whether it applies to one more call; counts it."""
        if (self.times is not None and self.hits >= self.times) or not self.call.search(call):
            return False
        self.hits += 1
        return True


@define(eq=False)
class Line:
    """One client's connection, and the engine's behind it.

    `inbox` gets all that the client sends, so that its end is noticed at once.
    """

    client: StreamWriter
    engine_reader: StreamReader
    engine: StreamWriter
    inbox: StreamReader = field(factory=StreamReader)
    gone: asyncio.Event = field(factory=asyncio.Event)
    call: str = ""
    silent: bool = False
    held: bool = False

    def close(self) -> None:
        """End both."""
        self.client.close()
        self.engine.close()

    async def pump(self, source: StreamReader) -> None:
        """Take in what the client sends, until it ends."""
        with suppress(ConnectionError):
            while data := await source.read(PIECE):
                self.inbox.feed_data(data)
        self.inbox.feed_eof()
        self.gone.set()


class Relay:
    """Passes calls on, by its rules.

    Args:
        upstream: the engine's socket.
    """

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self.rules: list[Rule] = []
        self.seen: list[str] = []
        self.lines: set[Line] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection of a client."""
        try:
            engine = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.close()
            return
        line = Line(writer, *engine)
        self.lines.add(line)
        pump = asyncio.create_task(line.pump(reader))
        try:
            while await self._exchange(line):
                line.call = ""
        except (OSError, IncompleteReadError):
            pass  # one of the two has ended, so does the other
        finally:
            pump.cancel()
            self.lines.discard(line)
            line.close()

    async def _exchange(self, line: Line) -> bool:
        """Pass one call on; tell whether the connection may carry another."""
        await self.flowing.wait()
        request = await read_head(line.inbox)
        if request is None:
            return False
        line.call = f"{request.method} {request.path}"
        self.seen.append(line.call)
        rule = next((rule for rule in self.rules if rule.takes(line.call)), None)
        await self.flowing.wait()
        if rule is None:
            return await self._pass_on(line, request)
        if rule.fault is Fault.FAIL:
            return await _fail(line, request, rule.status)
        if rule.fault is not Fault.HOLD:
            await _let_it_be_done(line, request)
        if rule.fault is not Fault.CUT_REPLY:
            line.held = True
            await line.gone.wait()
        return False

    async def _pass_on(self, line: Line, request: Head) -> bool:
        sending = asyncio.create_task(_send(line, request))
        try:
            answer = await _unless_gone(line, _answer_head(line))
            if answer is None:
                return False
            await self._give(line, answer.raw)
            if answer.open_ended(request.method):
                await self._tunnel(line)
                return False
            if answer.has_body(request.method):
                whole = await _unless_gone(line, self._give_body(line, answer))
                return bool(whole) and not (answer.closes or request.closes)
            return not (answer.closes or request.closes)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _give_body(self, line: Line, answer: Head) -> bool:
        async for piece in read_body(answer, line.engine_reader):
            await self._give(line, piece)
        return True

    async def _give(self, line: Line, data: bytes) -> None:
        await self.flowing.wait()
        if not line.silent:
            line.client.write(data)
            await line.client.drain()

    async def _tunnel(self, line: Line) -> None:
        """Carry both ways until the engine ends; a client that ends may still listen."""

        async def up() -> None:
            while data := await line.inbox.read(PIECE):
                await self.flowing.wait()
                line.engine.write(data)
                await line.engine.drain()
            line.engine.write_eof()

        upward = asyncio.create_task(up())
        try:
            while data := await line.engine_reader.read(PIECE):
                await self._give(line, data)
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)


async def _send(line: Line, request: Head) -> None:
    line.engine.write(request.raw)
    async for piece in read_body(request, line.inbox):
        line.engine.write(piece)
        await line.engine.drain()


async def _answer_head(line: Line) -> Head:
    while True:
        answer = await read_head(line.engine_reader)
        if answer is None:
            raise ConnectionError
        if answer.status != HTTPStatus.CONTINUE:
            return answer
        line.client.write(answer.raw)


async def _let_it_be_done(line: Line, request: Head) -> None:
    """Let the engine carry a call out to its end, whether or not the client waits for it."""
    await _send(line, request)
    answer = await _answer_head(line)
    if answer.has_body(request.method):
        async for _ in read_body(answer, line.engine_reader):
            pass


async def _fail(line: Line, request: Head, status: int) -> bool:
    async for _ in read_body(request, line.inbox):
        pass
    body = json.dumps({"message": "the proxy says no"}).encode()
    head = f"HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\n"
    line.client.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await line.client.drain()
    return True


async def _unless_gone(line: Line, work: Coroutine[Any, Any, T]) -> T | None:
    """Work until it is done, or, for nothing, until the client has gone."""
    working, gone = asyncio.create_task(work), asyncio.create_task(line.gone.wait())
    try:
        done, _ = await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        return await working if working in done else None
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
