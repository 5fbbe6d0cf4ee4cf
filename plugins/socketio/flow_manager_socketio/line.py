"""A connection as the ASGI server hands it over, with a way to end it from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from flow_manager_socketio.packets import well_formed
from flow_manager_socketio.visits import VISIT, Visit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Takes a packet, or says that it does not.
Take = Callable[[str], Awaitable[bool]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where a line is found in its ASGI scope.
LINE = "flow_manager.line"
#: Close codes of RFC 6455: a protocol error, not text, too big, the service restarts.
PROTOCOL_ERROR, NOT_TEXT, TOO_BIG, SERVICE_RESTART = 1002, 1003, 1009, 1012
#: Bytes of one packet, or of one request's body, from whoever has not been let in.
STRANGER_LIMIT = 16 * 1024
#: Messages of one client that are taken before others have their turn.
_TURN = 4
#: The packet with which a session moves to a WebSocket.
_UPGRADE = "5"


class Line:
    """One HTTP request or WebSocket connection.

    `end` makes it look as if the client had left, while what is queued still goes out; `cut` also
    stops a send that the client does not take, and drops the connection where the server is ours.

    Args:
        complain: makes the packet that tells a client of its malformed one.

    Attributes:
        on_upgrade: called once its session has moved to it, for a WebSocket of one that polled.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, complain: Callable[[str], str]
    ) -> None:
        self.session: str | None = None
        self.admitted: bool = False
        self._visit: Visit | None = visit_of(scope)
        self._complain = complain
        self._take: Take | None = None
        self._silence = self._passed = 0.0
        self.on_upgrade: Callable[[Line], object] | None = None
        self.answered: bool = False
        self._gone = f"{scope['type']}.disconnect"
        self._receive = receive
        self._send = send
        self._receiving: asyncio.Task[Any] | None = None
        self._complaining: anyio.CancelScope | None = None
        self._sending: anyio.CancelScope | None = None
        self._ended = False
        self._cut = False

    def join(self, take: Take, silence: float) -> None:
        """Let a session's messages be taken past python-engineio, which makes two tasks for each.

        Args:
            take: takes a packet, or says that it is none of these.
            silence: seconds after which one goes to python-engineio all the same: it takes a
                client for gone of which it hears nothing.
        """
        self._take = take
        self._silence = silence

    async def receive(self) -> Message:
        """ASGI's ``receive``; it lets through what is not taken here."""
        message = await self._next()
        taken = 0
        while await self._takes(message):
            taken += 1
            if taken % _TURN == 0:
                await asyncio.sleep(0)  # what has arrived already is received without waiting
            message = await self._next()
        self._passed = time.monotonic()
        return message

    async def _takes(self, message: Message) -> bool:
        text = message.get("text")
        if self._take is None or text is None or time.monotonic() - self._passed > self._silence:
            return False
        return await self._take(text)

    async def _next(self) -> Message:
        message = None if self._ended else await self._until_ended()
        code = 0 if message is None else self._fault_of(message)
        if message is not None and not code:
            self._note_upgrade(message)
            return message
        if code:
            await self._turn_away(code)
        return {"type": self._gone, "code": SERVICE_RESTART}

    async def _until_ended(self) -> Message | None:
        """What comes next; ``None`` once `end` was called.

        By hand: a cancel scope for each message is a tenth of what a request costs here.
        """
        self._receiving = task = asyncio.current_task()
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if not self._ended or task is None or task.uncancel():
                raise
            return None
        finally:
            self._receiving = None

    async def _turn_away(self, code: int) -> None:
        self._ended = True
        with anyio.CancelScope() as self._complaining:
            if code == PROTOCOL_ERROR and self.admitted:
                told = self._complain("it is no Engine.IO packet")
                await self.send({"type": "websocket.send", "text": f"4{told}"})
            await self.send({"type": "websocket.close", "code": code})
            if self._visit is not None and not self.admitted:
                self._visit.drop()  # its reply to that is not waited for

    async def send(self, message: Message) -> None:
        """ASGI's ``send``.

        Raises:
            ConnectionResetError: the line was cut.
        """
        self.answered = True
        if not self._cut:
            with anyio.CancelScope() as self._sending:
                await self._send(message)
                return
        raise ConnectionResetError("the connection was cut")

    def _note_upgrade(self, message: Message) -> None:
        if self.on_upgrade is not None and message.get("text") == _UPGRADE:
            self.on_upgrade(self)
            self.on_upgrade = None

    def carry(self, frame: bytes) -> bool:
        """Send a WebSocket frame at once; ``False``: it must go by `send`."""
        return not self._ended and self._visit is not None and self._visit.write(frame)

    def _fault_of(self, message: Message) -> int:
        """The code to close with for what a client sent; 0 where nothing is wrong with it."""
        if message["type"] != "websocket.receive":
            return 0
        text = message.get("text")
        if self.admitted:
            return PROTOCOL_ERROR if text is not None and not well_formed(text) else 0
        if text is None:
            return NOT_TEXT
        if len(text) > STRANGER_LIMIT:
            return TOO_BIG
        return 0 if well_formed(text) else PROTOCOL_ERROR

    def admit(self) -> None:
        """Its client was let in."""
        self.admitted = True
        if self._visit is not None:
            self._visit.admit()

    def leave(self) -> None:
        """It is over; the connection of an HTTP request may carry another one.

        That of a WebSocket ends: by itself, or after a while where its client takes nothing.
        """
        if self._visit is not None and self.admitted:
            self._visit.rest()

    def end(self) -> None:
        """Receive nothing more."""
        self._ended = True
        for waiting in (self._receiving, self._complaining):
            if waiting is not None:
                waiting.cancel()

    def cut(self) -> None:
        """Receive and send nothing more."""
        self.end()
        self._cut = True
        if self._sending is not None:
            self._sending.cancel()
        if self._visit is not None:
            self._visit.cut()


def visit_of(scope: Scope) -> Visit | None:
    """The connection under an ASGI scope, where the server is ours."""
    found: Visit | None = (scope.get("state") or {}).get(VISIT)
    return found
