"""Clients that lose their manager and come back to the next."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import socketio

from tests.chaos.manager import Manager

#: Seconds in which every request is answered, whatever happens meanwhile.
ANSWER = 30.0
PAUSE = 0.02


class Lost(Exception):
    """The manager went away before it answered, or was away already."""


class Unanswered(AssertionError):
    """A connected client waited in vain."""


class Actor:
    """One client.

    Args:
        told: called with every event.
    """

    def __init__(self, manager: Manager, told: Any = None) -> None:
        self._manager = manager
        self._told = told
        self._io: socketio.AsyncClient | None = None
        self._dialling = anyio.Lock()

    async def connect(self) -> socketio.AsyncClient:
        """Find the manager, if it can be found.

        Raises:
            Lost: it cannot.
        """
        async with self._dialling:
            if self._io is None or not self._io.connected:
                await self.close()
                self._io = await self._dial()
            return self._io

    async def _dial(self) -> socketio.AsyncClient:
        io = socketio.AsyncClient(reconnection=False)
        if self._told is not None:
            io.on("*", self._told)
        try:
            await io.connect(self._manager.url, auth={"token": self._manager.token}, wait_timeout=5)
        except socketio.exceptions.ConnectionError as error:
            await _hang_up(io)
            raise Lost from error
        return io

    async def ask(self, request: str, /, **payload: Any) -> dict[str, Any]:
        """Send a request and wait for its answer, which may be an error.

        Raises:
            Lost: nobody knows what came of it.
            Unanswered: the manager is there and says nothing.
        """
        io = await self.connect()
        answers: list[dict[str, Any]] = []
        try:
            await io.emit(request, payload, callback=answers.append)
        except socketio.exceptions.SocketIOError as error:
            raise Lost from error
        with anyio.move_on_after(ANSWER):
            while not answers:
                if not io.connected:
                    raise Lost
                await anyio.sleep(PAUSE)
            return answers[0]
        raise Unanswered(f"{request} {payload} was not answered within {ANSWER:g} s")

    async def close(self) -> None:
        """Hang up."""
        io, self._io = self._io, None
        if io is not None:
            await _hang_up(io)


class Recorder(Actor):
    """A client that comes to every life of the manager, and keeps what it was told.

    Args:
        told: called with name and body of every event.
    """

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            with suppress(Lost):
                await self.connect()
            await anyio.sleep(PAUSE)


async def _hang_up(io: socketio.AsyncClient) -> None:
    """End a line, and what is left of one that the other side ended."""
    with suppress(socketio.exceptions.SocketIOError):
        await io.disconnect()
    with suppress(socketio.exceptions.SocketIOError):
        await io.eio.disconnect(abort=True)
