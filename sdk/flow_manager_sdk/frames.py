"""Messages and their bytes: a 4-byte big-endian length, then that many bytes of UTF-8 JSON."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, Iterator, Mapping, NamedTuple

from flow_manager_sdk.errors import BadFrame

HEADER = 4
#: Bytes of one message's JSON, as the manager's default has it.
LIMIT = 1024 * 1024


class Message(NamedTuple):
    """One message.

    `id` names a question, `reply_to` the question that this answers; `extra` holds any other
    fields of the frame.
    """

    command: str
    data: Any = None
    id: str | None = None
    reply_to: str | None = None
    extra: Mapping[str, Any] = MappingProxyType({})


def encode(message: Message, limit: int = LIMIT) -> bytes:
    """Turn a message into a frame.

    Raises:
        BadFrame: it is over the limit, or holds what JSON cannot say.
    """
    fields = {"command": message.command, "data": message.data}
    ids = {"id": message.id, "reply_to": message.reply_to}
    fields.update({key: value for key, value in ids.items() if value is not None})
    fields.update(message.extra)
    try:
        body = json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadFrame(f"The message cannot be written as JSON: {error}") from None
    if len(body) > limit:
        raise BadFrame(f"A message of {len(body)} bytes is over the limit of {limit}")
    return len(body).to_bytes(HEADER, "big") + body


def decode(body: bytes) -> Message:
    """Turn a frame's body into a message.

    Raises:
        BadFrame: it is no object with a text in ``command``.
    """
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"A frame is not JSON: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("command"), str):
        raise BadFrame("A frame is no object with a text in its field command")
    known = {key: fields.pop(key, None) for key in ("command", "data", "id", "reply_to")}
    return Message(extra=fields, **known)


class FrameReader:
    """Cuts what arrives into frames.

    Args:
        limit: bytes of one frame's body.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes as they came, yield the bodies of the frames that they complete.

        Raises:
            BadFrame: a frame is over the limit. The connection has to be ended.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER:
            length = int.from_bytes(self._buffer[:HEADER], "big")
            if length > self._limit:
                told = "A frame of %d bytes is over the limit of %d"
                raise BadFrame(told % (length, self._limit))
            if len(self._buffer) < HEADER + length:
                return
            body = bytes(self._buffer[HEADER : HEADER + length])
            del self._buffer[: HEADER + length]
            yield body
