"""Sends clients away: those that never present themselves, those that do not read."""

from __future__ import annotations

import anyio

from flow_manager_core.contracts import Gateway
from flow_manager_core.errors import SystemFault
from flow_manager_core.log import Log
from flow_manager_socketio.lines import Lines
from flow_manager_socketio.queues import ClientQueue
from flow_manager_socketio.socket_server import SocketServer, error_packet

_ROUND = 0.25
#: Seconds that a client has to take its last words, or what else waits for it, once its session is
#: over.
_GRACE = 2.0


class Doorkeeper:
    """Watches over the sessions of one server.

    Args:
        patience: seconds that a session may last without a client that was let in.
        most: sessions without one at once; the oldest goes when there are more.
    """

    def __init__(
        self,
        server: SocketServer,
        lines: Lines,
        gateway: Gateway,
        log: Log,
        *,
        patience: float,
        most: int,
    ) -> None:
        self._server = server
        self._lines = lines
        self._gateway = gateway
        self._patience = patience
        self._most = most
        self._log = log
        self._strangers: dict[str, float] = {}
        self._ending: dict[str, float] = {}
        self._came = anyio.Event()

    async def run(self) -> None:
        """Go round until cancelled, while there are sessions."""
        while True:
            if not self._server.eio.sockets and not self._ending:
                self._came = anyio.Event()
                await self._came.wait()
            await anyio.sleep(min(_ROUND, self._patience / 4))
            await self._round(anyio.current_time())

    async def _round(self, time: float) -> None:
        sessions = list(self._server.eio.sockets)
        strangers = [s for s in sessions if not self._server.admitted(s)]
        known = [s for s in self._strangers if s in strangers]
        self._strangers = {s: self._strangers.get(s, time) for s in [*known, *strangers]}
        for session, since in list(self._strangers.items()):
            if time - since >= self._patience:
                await self._close(session)
        self._cut_ended(time)

    def _cut_ended(self, time: float) -> None:
        for session in [s for s, since in self._ending.items() if time - since >= _GRACE]:
            del self._ending[session]
            self._drop(session)

    async def opened(self, session: str) -> None:
        """A session has begun; if there are too many that nobody was let in on, one ends."""
        self._strangers[session] = anyio.current_time()
        self._came.set()
        while len(self._strangers) > self._most:
            await self._close(next(iter(self._strangers)))

    def admitted(self, session: str) -> None:
        """A client was let in on a session."""
        self._strangers.pop(session, None)
        for line in self._lines.of(session):
            line.admit()

    def ended(self, session: str) -> None:
        """A session is over; what is left of its connections in a while is cut.

        python-engineio waits without a limit for a WebSocket to take what its writer has begun to
        send, after a ping's timeout as well.
        """
        self._strangers.pop(session, None)
        self._ending[session] = anyio.current_time()

    async def _close(self, session: str) -> None:
        self._strangers.pop(session, None)
        self._log.debug("Connection closed: nobody was let in on it", session=session)
        await self._server.eio.close_session(session)
        self._drop(session)

    def too_slow(self, queue: ClientQueue) -> None:
        """Send away the client that this queue belongs to, in a task."""
        self._server.eio.start_background_task(self._send_away, queue)

    async def _send_away(self, queue: ClientQueue) -> None:
        engine = self._server.eio
        session = engine.session_of(queue)
        if session is None:
            return
        self._log.warning("Client dropped: it does not read what it is sent", session=session)
        await engine.close_session(session, self._last_words())
        for line in self._lines.of(session):
            line.end()

    def _last_words(self) -> str:
        error = SystemFault(
            "This client reads too slowly and was disconnected",
            retryable=True,
            hint="Read events as they come, or ask for fewer with auth: {events: [...]}",
        )
        return error_packet(self._gateway.error_body(error))

    def _drop(self, session: str) -> None:
        for line in self._lines.of(session):
            line.cut()
        self._server.eio.forget_session(session)
