"""What a connection begins with: the flow's secret, and the manager's word on it.

The flow sends ``{"command": "auth", "data": {"secret": "..."}}`` and is answered with
``{"command": "welcome", "data": null}``, or with an ``error`` and the end of the connection. Not
one byte beyond the first frame is read here: the rest is the channel's.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from flow_manager_core.errors import ChannelError
from flow_manager_core.events import now
from flow_manager_core.framing import HEADER, BadFrame, decode_message, encode_frame
from flow_manager_core.models import Message
from flow_manager_core.socket_stream import SocketStream
from flow_manager_core.wire import standard_format

AUTH = "auth"
#: Bytes of the first frame's body; a secret has 43.
LIMIT = 4096
#: Bytes that are still taken of a flow that was refused, so that it gets to read why.
LAST_WORDS = 64 * 1024
WELCOME = encode_frame(Message("welcome"), LIMIT)


class Refused(Exception):
    """A connection that does not get in; the text says why, and may be told to anyone.

    Args:
        early: the flow is known, and may try again: its channel is not open yet.
    """

    def __init__(self, reason: str, *, early: bool = False) -> None:
        super().__init__(reason)
        self.early = early


async def read_secret(stream: SocketStream) -> str:
    """Read the first frame, however slowly it comes; the caller sets the deadline.

    Raises:
        Refused: it is no such frame.
        anyio.EndOfStream, anyio.BrokenResourceError: the connection ended.
    """
    length = int.from_bytes(await _exactly(stream, HEADER), "big")
    if length > LIMIT:
        raise Refused(f"The first frame has more than {LIMIT} bytes")
    try:
        message = decode_message(await _exactly(stream, length))
    except BadFrame:
        # What it is instead stays out of the log: a secret may be in it.
        raise Refused("The first frame is no message") from None
    if message.command != AUTH or not isinstance(message.data, Mapping):
        raise Refused("The first frame is not an auth with the flow's secret")
    secret = message.data.get("secret")
    if not isinstance(secret, str):
        raise Refused("The auth frame has no secret")
    return secret


async def refuse(stream: SocketStream, refused: Refused) -> None:
    """Say why, and let it be read: bytes left unread would take it away from the flow.

    Raises:
        anyio.BrokenResourceError, OSError: the flow is gone.
    """
    error = ChannelError(str(refused), retryable=refused.early, operation=AUTH)
    await stream.send(encode_frame(Message("error", standard_format(error, now())), LIMIT))
    await stream.send_eof()
    left = LAST_WORDS
    while left > 0:
        try:
            left -= len(await stream.receive(left))
        except anyio.EndOfStream:
            return


async def _exactly(stream: SocketStream, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        found += await stream.receive(count - len(found))
    return bytes(found)
