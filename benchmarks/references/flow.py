"""A flow that costs next to nothing: plain sockets, the channel's frames, no package of ours.

Without arguments it connects to the manager, as ``FLOW_SOCKET`` says; with a path it listens there
and serves whoever connects, one after the other. It answers every question with its own data, and
of two commands it makes messages: ``burst`` (``count`` of them, ``size`` characters each, at most
``rate`` a second, while it goes on answering) and ``tell`` (one, with the time of its sending).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER = 4
#: Bytes asked from the kernel, and given to it, at once.
CHUNK = 65536
#: Seconds between two looks at the clock of a flow that has a pace.
PACE = 0.01


def encode(message: dict[str, Any]) -> bytes:
    """One message as a frame."""
    body = json.dumps(message).encode()
    return len(body).to_bytes(HEADER, "big") + body


def frames(connection: socket.socket) -> Iterator[list[dict[str, Any]]]:
    """Read messages, as many at once as have arrived, until the other side closes."""
    unread = b""
    while data := connection.recv(CHUNK):
        unread += data
        found, at = [], 0
        while len(unread) - at >= HEADER:
            begins = at + HEADER
            ends = begins + int.from_bytes(unread[at:begins], "big")
            if ends > len(unread):
                break
            found.append(json.loads(unread[begins:ends]))
            at = ends
        unread = unread[at:]
        yield found


def serve(connection: socket.socket) -> None:
    """Answer until the other side closes."""
    line = Line(connection)
    for messages in frames(connection):
        answers = []
        for message in messages:
            if message["command"] == "burst":
                options = {"line": line, **message["data"]}
                threading.Thread(target=burst, kwargs=options, daemon=True).start()
            elif message["command"] == "tell":
                answers.append(encode(told(message["data"])))
            else:
                answers.append(encode(answer(message)))
        if answers:
            line.send(b"".join(answers))


class Line:
    """A connection on which two threads write whole frames."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        """Write all of it before anybody else writes."""
        with self._lock:
            self._connection.sendall(data)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The answer that a question gets."""
    return {"command": "answer", "data": question["data"], "reply_to": question.get("id")}


def told(data: Any) -> dict[str, Any]:
    """A message that says when it was sent, in seconds of the clock that only goes forward."""
    return {"command": "told", "data": {"at": time.monotonic(), "text": data}}


def burst(line: Line, count: int, size: int, rate: float = 0) -> None:
    """Send many messages as they are taken; or at a pace, and then say that it is over."""
    frame = encode({"command": "burst", "data": "x" * size})
    batch = max(1, int(rate * PACE) if rate else CHUNK // len(frame))
    begun, sent = time.monotonic(), 0
    while sent < count:
        line.send(frame * min(batch, count - sent))
        sent += batch
        if rate:
            time.sleep(max(0, begun + sent / rate - time.monotonic()))
    if rate:
        line.send(encode({"command": "over", "data": None}))


def listen(path: str) -> None:
    """Serve whoever connects, one after the other; a line says when they may."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        sys.stdout.write("{}\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            with connection:
                serve(connection)


def connect() -> None:
    """Serve the manager that started this program."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["FLOW_SOCKET"])
        serve(connection)


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else ""
    if path:
        Path(path).unlink(missing_ok=True)
        listen(path)
    else:
        connect()
