"""Connections as the ASGI server hands them over, with a way to end them from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import anyio

from flow_manager_socketio.packets import well_formed
from flow_manager_socketio.visits import VISIT, Visit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where a line is found in its ASGI scope.
LINE = "flow_manager.line"
#: Close codes of RFC 6455: a protocol error, not text, too big, the service restarts.
PROTOCOL_ERROR, NOT_TEXT, TOO_BIG, SERVICE_RESTART = 1002, 1003, 1009, 1012
#: Bytes of one packet, or of one request's body, from whoever has not been let in.
STRANGER_LIMIT = 16 * 1024


class Line:
    """One HTTP request or WebSocket connection.

    `end` makes it look as if the client had left, while what is queued still goes out; `cut` also
    stops a send that the client does not take, and drops the connection where the server is ours.

    Args:
        complain: makes the packet that tells a client of its malformed one.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, complain: Callable[[str], str]
    ) -> None:
        self.session: str | None = None
        self.admitted: bool = False
        self._visit: Visit | None = visit_of(scope)
        self._websocket = scope["type"] == "websocket"
        self._complain = complain
        self.answered: bool = False
        self._gone = f"{scope['type']}.disconnect"
        self._receive = receive
        self._send = send
        self._receiving: anyio.CancelScope | None = None
        self._sending: anyio.CancelScope | None = None
        self._ended = False
        self._cut = False

    async def receive(self) -> Message:
        """ASGI's ``receive``."""
        if not self._ended:
            with anyio.CancelScope() as self._receiving:
                message = await self._receive()
                code = self._fault_of(message)
                if not code:
                    return message
                self._ended = True
                if code == PROTOCOL_ERROR and self.admitted:
                    told = self._complain("it is no Engine.IO packet")
                    await self.send({"type": "websocket.send", "text": f"4{told}"})
                await self.send({"type": "websocket.close", "code": code})
                if self._visit is not None and not self.admitted:
                    self._visit.drop()  # its reply to that is not waited for
        return {"type": self._gone, "code": SERVICE_RESTART}

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
        """It is over; the connection of an HTTP request may carry another one."""
        if self._visit is not None and self.admitted and not self._websocket:
            self._visit.rest()

    def end(self) -> None:
        """Receive nothing more."""
        self._ended = True
        if self._receiving is not None:
            self._receiving.cancel()

    def cut(self) -> None:
        """Receive and send nothing more."""
        self.end()
        self._cut = True
        if self._sending is not None:
            self._sending.cancel()
        if self._visit is not None:
            self._visit.drop()


def visit_of(scope: Scope) -> Visit | None:
    """The connection under an ASGI scope, where the server is ours."""
    found: Visit | None = (scope.get("state") or {}).get(VISIT)
    return found


class Lines:
    """All lines, and which of them belong to an Engine.IO session."""

    def __init__(self) -> None:
        self._open: set[Line] = set()
        self._sessions: dict[str, set[Line]] = {}
        self._closed = anyio.Event()

    @contextmanager
    def opened(self, line: Line, session: str | None) -> Iterator[Line]:
        """Hold a line for as long as it lasts."""
        self._open.add(line)
        if session is not None:
            self.bind(line, session)
        try:
            yield line
        finally:
            self._open.discard(line)
            self._unbind(line)
            line.leave()
            self._closed.set()

    def bind(self, line: Line, session: str) -> None:
        """Say which session a line belongs to."""
        line.session = session
        self._sessions.setdefault(session, set()).add(line)

    def _unbind(self, line: Line) -> None:
        if line.session is None:
            return
        lines = self._sessions[line.session]
        lines.discard(line)
        if not lines:
            del self._sessions[line.session]

    def of(self, session: str) -> list[Line]:
        """The lines of one session."""
        return list(self._sessions.get(session, ()))

    def end_all(self) -> None:
        """End every line."""
        for line in list(self._open):
            line.end()

    def cut_all(self) -> None:
        """Cut every line."""
        for line in list(self._open):
            line.cut()

    async def emptied(self) -> None:
        """Wait until no line is open."""
        while self._open:
            self._closed = anyio.Event()
            await self._closed.wait()
