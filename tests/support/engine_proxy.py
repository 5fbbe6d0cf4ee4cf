"""A socket before an engine's, which passes everything on, until a test says otherwise.

What goes wrong between a client and an engine goes wrong here on purpose: a lost reply, a refused
or frozen engine, an error that passes, a stream that falls silent. The proxy runs in a thread of
its own, and a test may change its behaviour at any time.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.support.engine_relay import Fault, Relay, Rule

T = TypeVar("T")

#: Seconds for the proxy's thread to do what it is told.
PROMPT = 10.0


class EngineProxy:
    """The proxy; a context manager.

    Args:
        upstream: the engine's address, ``unix://`` and a path.
        tcp: listen on a port of this machine instead, as an engine elsewhere does.
    """

    def __init__(self, upstream: str, *, tcp: bool = False) -> None:
        self._upstream = Path(upstream.removeprefix("unix://"))
        # A short path: a socket's path holds 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="fmx-"))
        self._path = self._folder / "docker.sock"
        self.url = "tcp://127.0.0.1" if tcp else f"unix://{self._path}"
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="proxy")

    def __enter__(self) -> EngineProxy:
        self._thread.start()
        assert self._ready.wait(PROMPT)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(PROMPT)
        assert not self._thread.is_alive()
        shutil.rmtree(self._folder)

    def calls(self, call: str) -> list[str]:
        """Those that came so far and match, in order, as ``POST /v1.41/...``."""
        return [each for each in list(self._relay.seen) if re.search(call, each)]

    def rule(self, call: str, fault: Fault, *, times: int | None = None, status: int = 500) -> Rule:
        """Let something happen to calls from now on; see `Rule`."""
        made = Rule(re.compile(call), fault, times, status)
        self._do(lambda: self._relay.rules.append(made))
        return made

    def open(self, call: str) -> int:
        """How many answers to matching calls are under way."""
        return self._do(lambda: sum(bool(re.search(call, each.call)) for each in self._relay.lines))

    def silence(self, call: str) -> int:
        """Pass on nothing more of the answers under way to matching calls; tell how many."""
        return self._do(lambda: self._silence(call))

    def freeze(self) -> None:
        """Take connections and calls, and do nothing with them."""
        self._do(self._relay.flowing.clear)

    def refuse(self) -> None:
        """Take no more connections, and cut those that are."""
        self._do(self._shut)

    def shut_door(self) -> None:
        """Take no more connections, and serve those that are, as an engine does that closes."""
        self._do(self._stop_listening)

    def restore(self) -> None:
        """Pass everything on again; a call that has no reply by a rule is cut."""
        self._do(self._forget)
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PROMPT)

    def _do(self, work: Callable[[], T]) -> T:
        """Run `work` in the proxy's loop."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PROMPT)

    async def _run(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        self._relay = Relay(self._upstream)
        await self._listen()
        self._ready.set()
        await self._closing.wait()
        self._shut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        if self._server is not None:
            return
        if self.url.startswith("unix://"):
            self._server = await asyncio.start_unix_server(self._accept, self._path)
            return
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"tcp://127.0.0.1:{self._port}"

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._relay.serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # One that was ended before it began to serve has closed nothing itself.
        task.add_done_callback(lambda _: writer.close())

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)

    def _shut(self) -> None:
        self._stop_listening()
        for line in self._relay.lines:
            line.close()

    def _silence(self, call: str) -> int:
        matching = [line for line in self._relay.lines if re.search(call, line.call)]
        for line in matching:
            line.silent = True
        return len(matching)

    def _forget(self) -> None:
        self._relay.rules.clear()
        self._relay.flowing.set()
        for line in self._relay.lines:
            if line.held:
                line.close()
