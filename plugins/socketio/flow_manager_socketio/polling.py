"""Packets that a client sends by HTTP.

python-engineio takes 16 packets in one request and loses the rest of a larger one in silence, while
a JavaScript client sends all it has before its WebSocket is up. So the body is read here and
handed on in portions.
"""

from __future__ import annotations

from collections.abc import Iterator

import anyio

from flow_manager_socketio.line import App, Message, Receive, Scope, Send
from flow_manager_socketio.packets import well_formed
from flow_manager_socketio.responses import respond

#: `engineio.payload.Payload.max_decode_packets`.
PORTION = 16
_SEPARATOR = "\x1e"
_BINARY = "b"
#: Seconds that a client may take to send its packets.
_BODY_TIMEOUT = 30.0


async def post_packets(app: App, limit: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Hand the packets of one POST to python-engineio.

    Args:
        app: python-engineio's.
        limit: bytes of the body.
    """
    body = await _read(receive, limit)
    if body is None:
        await respond(scope, send, 413)
        return
    packets = _text_packets(body)
    if not all(well_formed(packet) for packet in packets):
        await respond(scope, send, 400)
        return
    answer: list[Message] = []
    for portion in _portions(packets):
        answer = []
        await app(_with_length(scope, len(portion)), _replay(portion), _collect(answer))
        if answer[0]["status"] != 200:
            break
    for message in answer:
        await send(message)
    if not answer:
        await respond(scope, send, 200)


async def _read(receive: Receive, limit: int) -> bytes | None:
    body = bytearray()
    with anyio.move_on_after(_BODY_TIMEOUT):
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > limit or message["type"] != "http.request":
                return None
            if not message.get("more_body"):
                return bytes(body)
    return None


def _text_packets(body: bytes) -> list[str]:
    """The packets of a body, without binary ones: nothing here takes attachments."""
    packets = body.decode(errors="replace").split(_SEPARATOR)
    return [packet for packet in packets if packet[:1] != _BINARY]


def _portions(packets: list[str]) -> Iterator[bytes]:
    for start in range(0, len(packets), PORTION):
        yield _SEPARATOR.join(packets[start : start + PORTION]).encode()


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [(k, v) for k, v in scope["headers"] if k.lower() != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _collect(messages: list[Message]) -> Send:
    async def send(message: Message) -> None:
        messages.append(message)

    return send
