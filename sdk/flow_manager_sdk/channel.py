"""One connection to the manager, for programs with a loop of their own."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any

from flow_manager_sdk.address import TCP_TIMEOUT, Address
from flow_manager_sdk.errors import BadFrame, NotConnected
from flow_manager_sdk.frames import LIMIT, FrameReader, Message, decode, encode

#: Seconds that the manager may leave what is sent unread.
SEND_TIMEOUT = 30.0
_AUTH, _WELCOME = "auth", "welcome"
_CHUNK = 65536


class Channel:
    """A connection to the manager. One thread may receive, any thread may send.

    Args:
        path: of the manager's socket, or ``tcp://host:port``; left out: from the environment.
        secret: what to show at a TCP address; left out: from ``FLOW_SECRET``.
        limit: bytes of one message's JSON.

    Raises:
        NoSocket: there is no path or secret, and no variable has it.
    """

    def __init__(
        self, path: str | None = None, *, secret: str | None = None, limit: int = LIMIT
    ) -> None:
        self._address = Address(path, secret)
        self.path: str = self._address.text
        self._limit = limit
        self._reader = FrameReader(limit)
        self._bodies: deque[bytes] = deque()
        self._sending = threading.Lock()
        # Stands for the connection until there is one, and after a failure.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def connect(self) -> Channel:
        """Connect, once; returns itself. After a break, make a new channel.

        At a TCP address this shows the secret, and waits for the manager's welcome.

        Raises:
            NotConnected: nobody listens, the path cannot be reached, or the manager refuses.
        """
        self._socket.close()
        try:
            self._socket = self._address.dial()
            self._socket.settimeout(SEND_TIMEOUT)
        except OSError as error:
            raise NotConnected(f"Cannot connect to {self.path}: {error}") from error
        if self._address.secret:
            try:
                self._introduce()
            except BaseException:
                self.close()
                raise
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

    def _introduce(self) -> None:
        self.send(_AUTH, {"secret": self._address.secret})
        try:
            answer = self.receive(TCP_TIMEOUT)
        except (TimeoutError, BadFrame) as error:
            raise NotConnected(f"No flow manager answers at {self.path}: {error}") from error
        if answer.command != _WELCOME:
            told = answer.data.get("message") if isinstance(answer.data, dict) else answer.command
            raise NotConnected(f"The manager at {self.path} refuses: {told}")

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
