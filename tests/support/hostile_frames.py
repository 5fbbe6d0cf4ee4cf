"""What a hostile flow does to its channel: one table for all tests, standard library alone.

The flow in the container (`tests/e2e/flows/hostile.py`) gets a copy of this file, so it must not
import anything of the project.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple

LIMIT = 1024 * 1024
#: Of the attacks that are a number of bad frames: how many. All of them must be accounted for.
MANY = 1000
#: Seconds that what never comes is waited for.
NEVER = 0.7


class Attack(NamedTuple):
    """One attack.

    Args:
        act: carries it out on a connected, blocking socket; may leave it open or close it.
        told: a part of the error that clients and the flow are told of; empty: there is none.
        heard: commands of the messages that arrive all the same, in order.
        bad: frames that count as bad.
        ends: whether the connection is over by it.
    """

    act: Callable[[socket.socket], None]
    told: str = ""
    heard: tuple[str, ...] = ()
    bad: int = 0
    ends: bool = False


def framed(*bodies: bytes) -> bytes:
    """The frames of some bodies."""
    return b"".join(struct.pack(">I", len(body)) + body for body in bodies)


def message(**fields: object) -> bytes:
    """The body of a message with the command x."""
    return json.dumps({"command": "x", **fields}).encode()


def data(text: bytes) -> bytes:
    """The body of a message whose data is this JSON text."""
    return b'{"command":"x","data":' + text + b"}"


def sending(*pieces: bytes, pause: float = 0) -> Callable[[socket.socket], None]:
    """Make an attack of pieces with a pause after each but the last."""

    def act(channel: socket.socket) -> None:
        for number, piece in enumerate(pieces):
            time.sleep(pause if number else 0)
            channel.sendall(piece)

    return act


def ending(piece: bytes) -> Callable[[socket.socket], None]:
    """Make an attack that sends and hangs up."""

    def act(channel: socket.socket) -> None:
        channel.sendall(piece)
        channel.shutdown(socket.SHUT_RDWR)

    return act


def bad(body: bytes, told: str) -> Attack:
    """A frame that is no message; the one after it is heard."""
    return Attack(sending(framed(body, b'{"command":"after"}')), told, ("after",), 1)


def send_descriptors(channel: socket.socket) -> None:
    """Send messages with two hundred descriptors each."""
    piece = framed(b'{"command":"with descriptors"}')
    for _ in range(10):
        with open("/dev/null", "rb") as null:
            socket.send_fds(channel, [piece], [null.fileno()] * 200)


def nested(depth: int) -> bytes:
    """Lists in lists."""
    return b"[" * depth + b"]" * depth


MALFORMED = "came faster than they are told"
ATTACKS: dict[str, Attack] = {
    "a length of 0": bad(b"", "not JSON"),
    "a length of 2^32-1": Attack(sending(b"\xff" * 4), "4294967295 bytes", (), 1, ends=True),
    "another protocol": Attack(sending(b"GET / HTTP/1.1\r\n\r\n"), "limit", (), 1, ends=True),
    "a frame over the limit": bad(b"x" * (LIMIT + 1), "over the limit"),
    "a header that never comes": Attack(
        sending(b"\0\0", b'\0\x10{"command":"x"} ', pause=NEVER), heard=("x",)
    ),
    "a body that never comes": Attack(
        sending(b'\0\0\0\x10{"com', b'mand":"x"} ', pause=NEVER), heard=("x",)
    ),
    "one byte a second": Attack(
        sending(b"\0", b"\0", b'\0\x0f{"command":"x"}', pause=1), heard=("x",)
    ),
    "bad UTF-8": bad(b'{"command":"\xff"}', "not UTF-8"),
    "bad JSON": bad(b'{"command":"x"', "not JSON"),
    "no object": bad(b"[1]", "no object"),
    "100,000 levels of lists": bad(data(nested(100_000)), "deep"),
    "100,000 levels that do not end": bad(data(b"[" * 100_000), "deep"),
    "an integer of 5,000 digits": bad(data(b"9" * 5000), "too large"),
    "NaN": bad(data(b"NaN"), "NaN"),
    "Infinity": bad(data(b"-Infinity"), "Infinity"),
    "1e999": bad(data(b"1e999"), "too large"),
    "a lone surrogate": bad(data(b'"\\ud800"'), "surrogate"),
    "duplicate keys": bad(data(b'{"k":1,"k":2}'), "same key"),
    "no command": bad(b'{"data":1}', "command"),
    "a command that is no text": bad(b'{"command":["x"]}', "command"),
    "an id of 1 MiB": bad(message(id="i" * (LIMIT - 100)), "128 characters"),
    "a reply_to of 1 MiB": bad(message(reply_to="i" * (LIMIT - 100)), "128 characters"),
    "a number as id": bad(message(id=7), "id is no text"),
    "a negative id": bad(message(id=-1), "id is no text"),
    "an id of 300 digits": bad(b'{"command":"x","id":' + b"9" * 300 + b"}", "id is no text"),
    "text after the JSON": bad(b'{"command":"x"} {}', "not JSON"),
    "a reply to a question never asked": Attack(
        sending(framed(message(reply_to="fm-00000000-1"))), heard=("x",)
    ),
    "a pong that nobody asked for": Attack(
        sending(framed(b'{"command":"pong","reply_to":"fm-ping-1"}')), heard=("pong",)
    ),
    "descriptors sent along": Attack(send_descriptors, heard=("with descriptors",) * 10),
    "ANSI and newlines": Attack(
        sending(framed(b'{"command":"\\u001b[2J\\n[ERROR] forged\\r"}')),
        heard=("\x1b[2J\n[ERROR] forged\r",),
    ),
    "many malformed frames": Attack(
        sending(framed(*[b"x"] * MANY, b'{"command":"after"}')), MALFORMED, ("after",), MANY
    ),
    "half a header at the end": Attack(
        ending(framed(b'{"command":"last"}') + b"\0\0"), "within a frame", ("last",), 1, ends=True
    ),
    "half a body at the end": Attack(
        ending(framed(b'{"command":"last"}') + b"\0\0\1\0half"),
        *("within a frame", ("last",), 1, True),
    ),
}


def lines(total: int) -> Iterator[bytes]:
    """So many bytes of short lines."""
    piece = b"".join(b"line %d of a flood %s\n" % (n, b"x" * 1000) for n in range(2000))
    return (piece for _ in range(total // len(piece) + 1))


def printing(pieces: Iterable[bytes]) -> Callable[[BinaryIO], None]:
    """Make an output of pieces."""

    def write(output: BinaryIO) -> None:
        for piece in pieces:
            output.write(piece)
        output.flush()

    return write


#: What a flow prints.
OUTPUTS: dict[str, Callable[[BinaryIO], None]] = {
    "220 MB of lines": printing(lines(220_000_000)),
    "a line of 20 MB": printing([b"x" * 1_000_000] * 20 + [b"\n"]),
    "ANSI and bad UTF-8": printing([b"\x1b[2J\r[ERROR] forged\xff\xfe\0 \x1b]0;title\x07\n"]),
}
