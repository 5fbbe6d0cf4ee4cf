"""One Socket.IO client over a raw WebSocket: as much of both as a measurement needs."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from tests.support.socketio_wire import TEXT, frame

#: Seconds that a server may take for anything.
PATIENCE = 20.0
CHUNK = 262_144
_PING, _PONG = b"2", frame(TEXT, b"3")
_TEXT_FRAME = 0x81
_HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Refused(Exception):
    """The server did not let a client in, or sent it away."""


class Connection:
    """A client that is in.

    Args:
        port: of a server on this machine.
        auth: what the client presents.
        greeted: whether the server greets a client with ``connected``; `greeting` has that then.

    Raises:
        Refused: it was not let in.
    """

    def __init__(self, port: int, auth: Mapping[str, Any], *, greeted: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self._waiting: list[bytes] = []
        self.socket.sendall(_HANDSHAKE.encode())
        while b"\r\n\r\n" not in self._unread:
            self._unread += self._receive()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise Refused(head.decode())
        self.send(text_frame("40" + json.dumps(auth)))
        self._until(b"40{")
        self.greeting: Any = None
        if greeted:
            self.greeting = json.loads(self._until(b'42["connected"')[2:])[1]

    def send(self, data: bytes) -> None:
        """Send a whole frame."""
        self.socket.sendall(data)

    def packets(self) -> list[bytes]:
        """Read what is there, at least something; return whole packets, with pings answered.

        Raises:
            Refused: the server has closed the connection.
        """
        data, at, found = self._unread + self._receive(), 0, []
        while (cut := _next_frame(data, at)) is not None:
            begins, ends = cut
            packet = data[begins:ends]
            if data[at] != _TEXT_FRAME:
                raise Refused(f"the server closed the connection: {packet!r}")
            at = ends
            if packet == _PING:
                self.send(_PONG)
            else:
                found.append(packet)
        self._unread = data[at:]
        return found

    def _receive(self) -> bytes:
        data = self.socket.recv(CHUNK)
        if not data:
            raise Refused("the server closed the connection")
        return data

    def _until(self, beginning: bytes) -> bytes:
        """Read until a packet begins so; those before it are dropped."""
        while True:
            while self._waiting:
                packet = self._waiting.pop(0)
                if packet.startswith(beginning):
                    return packet
                if packet.startswith(b"44"):
                    raise Refused(packet.decode())
            self._waiting = self.packets()


def _next_frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the content of the frame at a place begins and ends, if all of it is there."""
    have = len(data) - at
    if have < 2:
        return None
    size, begins = data[at + 1], at + 2
    if size >= 126:
        digits = 2 if size == 126 else 8
        begins += digits
        if have < 2 + digits:
            return None
        size = int.from_bytes(data[at + 2 : begins], "big")
    ends = begins + size
    return (begins, ends) if ends <= len(data) else None


def text_frame(packet: str) -> bytes:
    """A packet as a frame that can be sent any number of times."""
    return frame(TEXT, packet.encode())
