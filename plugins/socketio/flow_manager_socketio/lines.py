"""All connections, and which of them belong to an Engine.IO session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from flow_manager_socketio.line import Line


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
