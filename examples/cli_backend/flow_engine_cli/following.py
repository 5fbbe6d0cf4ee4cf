"""The engine's events, as its command line prints them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from subprocess import DEVNULL

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from flow_manager_core.errors import EngineUnavailable
from flow_manager_core.models import EngineEvent, EngineEventKind

#: Bytes of a line: an id and a word.
LINE_LIMIT = 4096

KINDS = {
    "start": EngineEventKind.STARTED,
    "die": EngineEventKind.DIED,
    "stop": EngineEventKind.STOPPED,
    "destroy": EngineEventKind.REMOVED,
}


@asynccontextmanager
async def follow(command: Sequence[str]) -> AsyncIterator[AsyncIterator[EngineEvent]]:
    """Run the command for as long as the context lasts, and read what it prints."""
    try:
        process = await anyio.open_process(command, stdin=DEVNULL, stderr=DEVNULL)
    except OSError as error:
        raise EngineUnavailable(f"The engine does not answer: {error}") from error
    async with process, aclosing(read_events(process)) as events:
        try:
            yield events
        finally:
            process.kill()


async def read_events(process: Process) -> AsyncGenerator[EngineEvent, None]:
    """Read an id and a word a line, until the command ends: the core then watches anew."""
    assert process.stdout
    lines = BufferedByteReceiveStream(process.stdout)
    with suppress(anyio.EndOfStream, anyio.IncompleteRead):
        while True:
            line = await lines.receive_until(b"\n", LINE_LIMIT)
            container_id, _, word = line.decode().partition(" ")
            if word in KINDS:
                yield EngineEvent(kind=KINDS[word], container_id=container_id, at=time.time())
