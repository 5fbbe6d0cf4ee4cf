"""The one listener: accepts connections, asks for their secret, and lets them through.

A connection without a secret costs a place among `max_pending`. When all are taken the oldest one
gives way: a flow gives its secret at once, so that somebody who says nothing cannot keep it out.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup

from flow_manager_core.log import Log
from flow_manager_core.socket_stream import SocketStream
from flow_manager_tcp.handshake import Refused, read_secret, refuse
from flow_manager_tcp.settings import TcpSettings, bracketed

#: Seconds between two tries while connections cannot be accepted, for want of descriptors.
ACCEPT_PAUSE = 0.1
#: Seconds between two lines of the log on refused connections.
QUIET = 10.0
#: A peer whose host is gone is noticed after 60 s, where the system can set it so. What a peer
#: leaves unread has no limit: a flow that does not read keeps its channel.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))

#: Takes a stream with its secret for good, at once, or raises `Refused`.
Admit = Callable[[str, SocketStream], None]


class Door:
    """Runs until cancelled.

    Args:
        listener: bound and listening, owned by the caller.
        admit: gets each connection that gave a secret.
        settings: of the transport.
        log: of the transport.
    """

    def __init__(
        self, listener: socket.socket, admit: Admit, settings: TcpSettings, log: Log
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._admit = admit
        self._settings = settings
        self._log = log
        self._refusals = _Refusals(log)
        #: The waits for a secret, oldest first.
        self._pending: dict[anyio.CancelScope, None] = {}

    async def run(self) -> None:
        """Accept connections."""
        starved = False
        async with anyio.create_task_group() as tasks:
            while True:
                await anyio.wait_readable(self._listener)
                try:
                    connection, address = self._listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    continue
                except OSError as error:
                    if not starved:
                        self._log.warning("Connections cannot be accepted", error=str(error))
                    starved = True
                    await anyio.sleep(ACCEPT_PAUSE)
                else:
                    starved = False
                    self._let_wait(tasks, SocketStream(connection), connection, _peer(address))

    def _let_wait(
        self, tasks: TaskGroup, stream: SocketStream, connection: socket.socket, peer: str
    ) -> None:
        if len(self._pending) >= self._settings.max_pending:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.cancel()
        deadline = anyio.current_time() + self._settings.auth_timeout
        scope = anyio.CancelScope(deadline=deadline)
        self._pending[scope] = None
        tasks.start_soon(self._meet, scope, stream, connection, peer)

    async def _meet(
        self, scope: anyio.CancelScope, stream: SocketStream, connection: socket.socket, peer: str
    ) -> None:
        admitted = False
        try:
            with scope:
                admitted = await self._introduce(stream, connection, peer)
            if scope.cancelled_caught:
                evicted = scope not in self._pending
                self._refusals.note(peer, "too many wait" if evicted else "no secret in time")
        finally:
            self._pending.pop(scope, None)
            if not admitted:
                await anyio.aclose_forcefully(stream)

    async def _introduce(self, stream: SocketStream, connection: socket.socket, peer: str) -> bool:
        """Hand a connection on; or tell it why not."""
        try:
            _prepare(connection)
            try:
                self._admit(await read_secret(stream), stream)
                return True
            except Refused as refused:
                if refused.early:
                    self._log.debug("A flow comes early", peer=peer)
                else:
                    self._refusals.note(peer, str(refused))
                await refuse(stream, refused)
        except (anyio.EndOfStream, anyio.BrokenResourceError, OSError) as error:
            self._log.debug("A connection ended", peer=peer, error=str(error))
        return False


def _prepare(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _Refusals:
    """Tells of a refused connection at once, and then of no other for a while."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._quiet_until = 0.0
        self._untold = 0

    def note(self, peer: str, reason: str) -> None:
        at = anyio.current_time()
        if at < self._quiet_until:
            self._untold += 1
            return
        self._log.warning(
            "A connection was refused", peer=peer, reason=reason, untold_before=self._untold
        )
        self._quiet_until, self._untold = at + QUIET, 0


def _peer(address: Any) -> str:
    host, port = address[:2]
    return f"{bracketed(host)}:{port}"
