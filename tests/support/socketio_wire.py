"""Socket.IO over a bare socket: for what no client library would send, or leave unread."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import time
from types import TracebackType
from typing import Any

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
DEADLINE = 10.0


def port_of(url: str) -> int:
    """The port in a service's address."""
    return int(url.rpartition(":")[2])


def assert_clean(lines: list[str]) -> None:
    """Find no failure in a service's log; a request's own error is none.

    Raises:
        AssertionError: there is one.
    """
    faults = [
        line
        for line in list(lines)
        if "Traceback" in line
        or (line.startswith("[ERROR]") and not line.startswith("[ERROR] Operation:"))
    ]
    assert not faults, faults


class Ended(Exception):
    """The service has closed the connection."""


class Wire:
    """One connection, whose reads and writes block for a while at most.

    Args:
        tls: speak TLS, as this client would.
        room: bytes that the kernel may keep for this client before it reads; 0: as it likes.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, room: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE)
        if room:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._heard = b""
        self.asked = 0

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: object, _trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def write(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            Ended: the service does not take them.
        """
        try:
            self.socket.sendall(data)
        except (ConnectionError, ssl.SSLError) as error:
            raise Ended from error

    def request(self, *headers: str, target: str = "", method: str = "GET") -> None:
        """Send the head of an HTTP request; without headers, of a WebSocket handshake."""
        default = (
            *("Host: localhost", "Connection: Upgrade", "Upgrade: websocket"),
            *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        )
        where = target or "/socket.io/?EIO=4&transport=websocket"
        lines = [f"{method} {where} HTTP/1.1", *(headers or default)]
        self.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def head(self) -> str:
        """Read the head of an answer."""
        while b"\r\n\r\n" not in self._heard:
            self._more()
        head, _, self._heard = self._heard.partition(b"\r\n\r\n")
        return head.decode()

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Read a whole answer: status, headers, and its body, which may be JSON."""
        first, *lines = self.head().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        else:
            body = self._take(int(headers.get("content-length", "0")))
        kind = headers.get("content-type", "")
        return int(first.split()[1]), headers, json.loads(body) if "json" in kind else body

    def open(self) -> Wire:
        """Upgrade, and take Engine.IO's OPEN packet."""
        self.request()
        assert " 101 " in self.head()
        assert self.packet().startswith("0{")
        return self

    def enter(self, token: str) -> Wire:
        """Open, and be let in."""
        self.open().send("40" + json.dumps({"token": token}))
        self.until('42["connected"')
        return self

    def send(self, packet: str) -> None:
        """Send one text packet."""
        self.write(frame(TEXT, packet.encode("utf-8", "surrogatepass")))

    def packet(self) -> str:
        """Read one packet, leaving out WebSocket's own frames, answering Engine.IO's pings.

        Raises:
            Ended: the service has closed the connection.
        """
        while True:
            first, second = self._take(2)
            size = second & 0x7F
            if size > 125:
                size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
            data = self._take(size)
            if first & 0x0F == CLOSE:
                raise Ended(int.from_bytes(data[:2], "big"))
            if first & 0x0F == TEXT:
                if data == b"2":
                    self.send("3")
                    continue
                return data.decode()

    def until(self, beginning: str) -> str:
        """Read until a packet begins so."""
        while True:
            packet = self.packet()
            if packet.startswith(beginning):
                return packet

    def ask(self, name: str, payload: Any = None) -> Any:
        """Send a request and read its acknowledgement."""
        self.asked += 1
        self.send(f"42{self.asked}" + json.dumps([name, payload]))
        packet = self.until(f"43{self.asked}[")
        return json.loads(packet[len(f"43{self.asked}") :])[0]

    def ended(self, within: float = DEADLINE) -> float:
        """Read until the service closes the connection; return the seconds that took."""
        begun = time.monotonic()
        self.socket.settimeout(within)
        try:
            while self.socket.recv(65536):
                pass
        except (ConnectionError, ssl.SSLError):
            pass
        return time.monotonic() - begun

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._heard:
                self._more()
            size, _, self._heard = self._heard.partition(b"\r\n")
            piece = self._take(int(size, 16) + 2)[:-2]
            if not piece:
                return body
            body += piece

    def _take(self, count: int) -> bytes:
        while len(self._heard) < count:
            self._more()
        data, self._heard = self._heard[:count], self._heard[count:]
        return data

    def _more(self) -> None:
        try:
            data = self.socket.recv(65536)
        except ConnectionError as error:
            raise Ended from error
        if not data:
            raise Ended
        self._heard += data


def frame(kind: int, data: bytes, *, last: bool = True) -> bytes:
    """One WebSocket frame of a client, masked with zeros."""
    first = kind | (0x80 if last else 0)
    if len(data) < 126:
        head = bytes([first, 0x80 | len(data)])
    elif len(data) < 65536:
        head = bytes([first, 0x80 | 126]) + struct.pack("!H", len(data))
    else:
        head = bytes([first, 0x80 | 127]) + struct.pack("!Q", len(data))
    return head + bytes(4) + data
