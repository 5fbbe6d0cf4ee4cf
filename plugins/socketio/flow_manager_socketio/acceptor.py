"""Takes connections from a listening socket.

asyncio's own server knows no limit of connections, gives no way to a connection in its TLS
handshake, and writes thousands of tracebacks a second once the process is out of descriptors.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from flow_manager_core.log import Log
from flow_manager_socketio.tasks import OwnedTasks
from flow_manager_socketio.visits import Visit, Visitors

#: Connections taken in one turn of the loop: those that are there already have theirs as well.
_BATCH = 4
#: Seconds before another try when descriptors or memory are out, and between two lines about it.
_RETRY, _QUIET = 0.2, 60.0
#: What `accept` fails with when not the connection but this process is at its end.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

MakeProtocol = Callable[[Visit], asyncio.Protocol]
Context = Callable[[], ssl.SSLContext | None]


class Acceptor:
    """One listening socket, which belongs to whoever made it; uvicorn's idea of a server.

    Args:
        context: asked for each connection; ``None``: no TLS.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: MakeProtocol,
        visitors: Visitors,
        context: Context,
        log: Log,
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._visitors = visitors
        self._context = context
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._tasks = OwnedTasks(log)
        self._beginning: set[socket.socket] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._complained = -_QUIET
        self._listen()

    def close(self) -> None:
        """Take no more connections, and none whose handshake is not done."""
        self._loop.remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()
        for opened in self._beginning:
            _hang_up(opened)

    async def wait_closed(self) -> None:
        """Wait for handshakes to end; those that `close` found do so within a few turns."""
        await self._tasks.wait(None)

    def _listen(self) -> None:
        self._retry = None
        self._loop.add_reader(self._listener, self._take)

    def _rest(self, seconds: float) -> None:
        """Leave connections to the kernel for a while."""
        self._loop.remove_reader(self._listener)
        self._retry = self._loop.call_later(seconds, self._listen)

    def _take(self) -> None:
        for _ in range(_BATCH):
            wait = self._visitors.make_room()
            if wait:
                self._rest(wait)
                return
            try:
                opened, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    return  # the peer was gone before we came to it
                self._out_of_means(error)
                return
            opened.setblocking(False)
            self._begin(opened, address)

    def _out_of_means(self, error: OSError) -> None:
        now = self._loop.time()
        if now - self._complained >= _QUIET:
            self._complained = now
            self._log.error("No connection can be taken", error=error.strerror or str(error))
        self._visitors.thin_out()
        self._rest(_RETRY)

    def _begin(self, opened: socket.socket, address: tuple[Any, ...]) -> None:
        visit = Visit(self._visitors, str(address[0]))
        visit.ends_by(partial(_hang_up, opened))
        visit.begin()
        self._beginning.add(opened)
        self._tasks.start(self._connect, opened, visit)

    async def _connect(self, opened: socket.socket, visit: Visit) -> None:
        context = self._context()
        options: dict[str, Any] = {}
        if context is not None:
            options = {"ssl": context, "ssl_handshake_timeout": self._visitors.limits.patience}
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._make_protocol(visit), opened, **options
            )
        except OSError as error:
            visit.leave()
            opened.close()
            self._log.debug("Connection failed", address=visit.address, error=str(error)[:200])
            # It hangs in a circle with what asyncio made for TLS, 256 KiB and more for each.
            error.__traceback__ = None
        finally:
            self._beginning.discard(opened)


def _hang_up(opened: socket.socket) -> None:
    """End a connection for which there is no transport yet that could be aborted.

    asyncio takes it for the peer's doing, and cleans up. A task that is cancelled instead leaves
    the transport open where it has just been made: closed before its handshake has begun, TLS of
    asyncio does nothing.
    """
    with suppress(OSError):  # the peer was quicker
        opened.shutdown(socket.SHUT_RDWR)
