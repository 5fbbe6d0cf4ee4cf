"""The manager's side of a channel, from section 3 of the contract alone and with bare sockets."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 10.0


class Line:
    """One connection of a flow."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        #: What the flow's greeting says of its durable messages.
        self.durable: dict[str, Any] = {}
        connection.settimeout(PATIENCE)

    def send(self, command: str, data: Any = None, **ids: Any) -> None:
        self.send_body(json.dumps({"command": command, "data": data, **ids}).encode())

    def send_body(self, body: bytes) -> None:
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def receive(self) -> Any:
        (length,) = struct.unpack(">I", self._exactly(4))
        return json.loads(self._exactly(length).decode())

    def take_greeting(self) -> None:
        greeting = self.receive()
        self.durable = greeting["data"].pop("durable")
        assert greeting == {"command": "hello", "data": {"protocol": 2, "heartbeat": True}}

    def ask(self, command: str, data: Any = None, id: str = "q1") -> Any:
        self.send(command, data, id=id)
        return self.receive()

    def is_over(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def is_silent(self, seconds: float = 0.2) -> bool:
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self.socket.recv(count - len(found))
            if not piece:
                raise EOFError("the flow ended the connection")
            found += piece
        return found


class Peer:
    """Listens where a flow is told to connect to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._listener: socket.socket
        self.listen()

    def listen(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._listener.settimeout(PATIENCE)

    def accept(self) -> Line:
        """Let a flow of the SDK in; it greets first."""
        line = self.accept_bare()
        line.take_greeting()
        return line

    def accept_bare(self) -> Line:
        """Let any program in."""
        connection, _ = self._listener.accept()
        self.lines.append(Line(connection))
        return self.lines[-1]

    def nobody_comes(self, seconds: float = 0.2) -> bool:
        self._listener.settimeout(seconds)
        try:
            self._listener.accept()[0].close()
        except TimeoutError:
            return True
        finally:
            self._listener.settimeout(PATIENCE)
        return False

    def close(self) -> None:
        self._listener.close()
        for line in self.lines:
            line.close()


def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)
