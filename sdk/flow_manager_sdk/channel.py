"""One connection to the manager, for programs with a loop of their own."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any

from flow_manager_sdk.errors import NoSocket, NotConnected
from flow_manager_sdk.frames import LIMIT, FrameReader, Message, decode, encode

VARIABLES = ("FLOW_SOCKET", "SOCKET_PATH")
#: Seconds that the manager may leave what is sent unread.
SEND_TIMEOUT = 30.0
#: Seconds that the manager may take to let a connection in.
CONNECT_TIMEOUT = 1.0
_CHUNK = 65536


def socket_path() -> str:
    """Return the socket's path, from the environment.

    Raises:
        NoSocket: no variable names it.
    """
    for name in VARIABLES:
        if os.environ.get(name):
            return os.environ[name]
    told = "Neither %s nor %s is set: this program talks to the flow manager that starts it"
    raise NoSocket(told % VARIABLES)


class Channel:
    """A connection to the manager. One thread may receive, any thread may send.

    Args:
        path: of the manager's socket; left out: from the environment.
        limit: bytes of one message's JSON.

    Raises:
        NoSocket: there is no path, and no variable names one.
    """

    def __init__(self, path: str | None = None, *, limit: int = LIMIT) -> None:
        self.path: str = path or socket_path()
        self._limit = limit
        self._reader = FrameReader(limit)
        self._bodies: deque[bytes] = deque()
        self._sending = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def connect(self) -> Channel:
        """Connect, once; returns itself. After a break, make a new channel.

        Raises:
            NotConnected: nobody listens, or the path cannot be reached.
        """
        try:
            self._socket.settimeout(CONNECT_TIMEOUT)
            self._socket.connect(self.path)
            self._socket.settimeout(SEND_TIMEOUT)
        except OSError as error:
            self._socket.close()
            raise NotConnected(f"Cannot connect to {self.path}: {error}") from error
        return self

    def send(
        self,
        command: str,
        data: Any = None,
        *,
        id: str | None = None,
        reply_to: str | None = None,
    ) -> None:
        """Send one message.

        Raises:
            BadFrame: it is over the limit, or holds what JSON cannot say.
            NotConnected: the connection ended, or the manager does not read.
        """
        self.send_frame(encode(Message(command, data, id, reply_to), self._limit))

    def send_frame(self, frame: bytes) -> None:
        """Send bytes that `frames.encode` made.

        Raises:
            NotConnected: the connection ended, or the manager does not read.
        """
        with self._sending:
            try:
                self._socket.sendall(frame)
            except OSError as error:
                # A part of the frame may be out: nothing that follows could be understood.
                self.end()
                raise NotConnected(f"The connection to the manager ended: {error}") from error

    def receive(self, timeout: float | None = None) -> Message:
        """Wait for the next message.

        Args:
            timeout: seconds; ``None``: for as long as it takes.

        Raises:
            TimeoutError: nothing came in time; the channel stays usable.
            NotConnected: the connection ended.
            BadFrame: what came is no message. Over the limit: the connection is ended.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._bodies:
            self._wait(deadline)
            self._read()
        return decode(self._bodies.popleft())

    def fileno(self) -> int:
        """The descriptor, for a selector; messages read already do not make it readable."""
        return self._socket.fileno()

    def end(self) -> None:
        """End the connection, from any thread; whoever receives or sends gets `NotConnected`."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended already

    def close(self) -> None:
        """End the connection and free its descriptor."""
        self.end()
        with self._sending:
            self._socket.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wait(self, deadline: float | None) -> None:
        if self._socket.fileno() < 0:
            raise NotConnected("The channel is closed")
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not waiting.poll(left):
            raise TimeoutError("No message came in time")

    def _read(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except OSError as error:
            raise NotConnected(f"The connection to the manager broke: {error}") from error
        if not data:
            raise NotConnected("The manager ended the connection")
        try:
            self._bodies.extend(self._reader.feed(data))
        except Exception:
            self.end()
            raise
