"""A real client of a mounted manager, and a real uvicorn around a host app in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import socketio
import uvicorn

from tests.embedding.host import TOKEN, Host

PATIENCE = 10.0


class Guest:
    """Keeps what it hears, in order."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.io = socketio.AsyncClient(reconnection=False, http_session=http)
        self.heard: list[tuple[str, Any]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._start = self.io.eio.start_background_task
        self.io.eio.start_background_task = self._start_task
        self.io.on("*", self._hear)
        self.io.on("disconnect", self._leave)

    def _start_task(self, *target: Any, **named: Any) -> asyncio.Task[Any]:
        self._tasks.append(self._start(*target, **named))
        return self._tasks[-1]

    async def leave(self) -> None:
        """Disconnect, and wait for the tasks that python-socketio leaves to themselves."""
        await self.io.shutdown()
        with anyio.fail_after(PATIENCE):
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hear(self, name: str, body: Any = None) -> None:
        self.heard.append((name, body))

    async def _leave(self, *_reason: Any) -> None:
        self.heard.append(("disconnected", None))

    async def hears(self, name: str) -> Any:
        """Wait for an event; return the body of the last one."""
        with anyio.fail_after(PATIENCE):
            while name not in self.names():
                await anyio.sleep(0.005)
        return [body for heard, body in self.heard if heard == name][-1]

    def names(self) -> list[str]:
        """The names of what was heard."""
        return [name for name, _ in self.heard]

    async def ask(self, name: str, payload: Any) -> Any:
        """Emit, and wait for the acknowledgement."""
        return await self.io.call(name, payload, timeout=PATIENCE)


@asynccontextmanager
async def visiting(url: str, path: str, *transports: str) -> AsyncIterator[Guest]:
    """Connect below a mount point such as ``/flows``, and wait for the greeting."""
    # A session of ours: python-engineio drops its own unclosed when the server leaves first.
    async with aiohttp.ClientSession() as http:
        guest = Guest(http)
        try:
            await guest.io.connect(
                url,
                auth={"token": TOKEN},
                socketio_path=f"{path}/socket.io",
                transports=list(transports or ["websocket"]),
                wait_timeout=PATIENCE,
            )
            await guest.hears("connected")
            yield guest
        finally:
            await guest.leave()


@asynccontextmanager
async def hosting(module: str, *arguments: str) -> AsyncIterator[Host]:
    """Run an example's host app; arguments are uvicorn's."""
    host = Host(module, arguments)
    await anyio.to_thread.run_sync(host.__enter__)
    try:
        yield host
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(host.__exit__, None, None, None)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The test's process keeps its own."""
        yield


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[str]:
    """Serve an app, its lifespan included; gives its address. Leaving waits for the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    options.setdefault("lifespan", "on")
    server = _Server(uvicorn.Config(app, log_config=None, ws="websockets-sansio", **options))
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [listener])
        with anyio.fail_after(PATIENCE):
            while not server.started and not server.should_exit:
                await anyio.sleep(0.005)
        try:
            yield "http://{}:{}".format(*listener.getsockname())
        finally:
            server.should_exit = True
