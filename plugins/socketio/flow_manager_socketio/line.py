"""Connections as the ASGI server hands them over, with a way to end them from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import anyio

from flow_manager_socketio.packets import well_formed

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Address = tuple[str, int]

#: Where a line is found in its ASGI scope.
LINE = "flow_manager.line"
#: Close codes of RFC 6455: a protocol error, the service restarts.
PROTOCOL_ERROR, SERVICE_RESTART = 1002, 1012


class Line:
    """One HTTP request or WebSocket connection.

    `end` makes it look as if the client had left, while what is queued still goes out; `cut` also
    stops a send that the client does not take.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.client: Address | None = scope.get("client")
        self.session: str | None = None
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
                if _acceptable(message):
                    return message
                self._ended = True
                await self.send({"type": "websocket.close", "code": PROTOCOL_ERROR})
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


def _acceptable(message: Message) -> bool:
    text = message.get("text") if message["type"] == "websocket.receive" else None
    return text is None or well_formed(text)


class Lines:
    """All lines, and which of them belong to an Engine.IO session.

    Args:
        abort: takes a client's address and drops its connection with all that is buffered; what
            the ASGI interface has no way to say. Left out: the server flushes at its leisure.
    """

    def __init__(self, abort: Callable[[Address], None] | None) -> None:
        self._abort = abort
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

    def cut(self, lines: list[Line]) -> None:
        """Cut lines, and drop their connections where the server lets us."""
        for line in lines:
            line.cut()
            if self._abort is not None and line.client is not None:
                self._abort(line.client)

    def cut_all(self) -> None:
        """Cut every line."""
        self.cut(list(self._open))

    async def emptied(self) -> None:
        """Wait until no line is open."""
        while self._open:
            self._closed = anyio.Event()
            await self._closed.wait()
