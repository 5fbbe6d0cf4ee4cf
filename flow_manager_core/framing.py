"""The channel's frames: a 4-byte big-endian length, then that many bytes of UTF-8 JSON.

The JSON is an object with `command` (string) and `data`. Only JSON that every language reads alike
is taken: see `frame_json`.
"""

from __future__ import annotations

from collections.abc import Iterator

from flow_manager_core.errors import ChannelError
from flow_manager_core.frame_json import read_json, write_json
from flow_manager_core.models import Message

HEADER = 4
ID_LIMIT = 128


class FramingLost(ChannelError):
    """The byte stream can no longer be cut into frames: the connection must close."""


class BadFrame(ChannelError):
    """One frame is no message; the next one may be."""


class FrameDecoder:
    """Cuts a byte stream into frames; holds at most one frame's bytes and one read's.

    Args:
        limit: bytes of one frame's body. A longer one is skipped while it arrives, never kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._skip = 0
        self._lost = False

    def feed(self, data: bytes) -> Iterator[bytes | ChannelError]:
        """Take bytes as they came, yield each frame's body that they complete.

        The bytes are taken in as the result is iterated: iterate all of it. An oversized frame
        yields a `BadFrame` once, at its header. A length of more than 16 times the limit, which
        no slip of a sender explains, yields `FramingLost`, and nothing after it, ever.
        """
        if self._lost:
            return
        self._buffer += data
        while True:
            if self._skip:
                dropped = min(self._skip, len(self._buffer))
                del self._buffer[:dropped]
                self._skip -= dropped
            if self._skip or len(self._buffer) < HEADER:
                return
            length = int.from_bytes(self._buffer[:HEADER], "big")
            if length > self._limit:
                del self._buffer[:HEADER]
                yield self._oversized(length)
                continue
            if len(self._buffer) < HEADER + length:
                return
            body = bytes(self._buffer[HEADER : HEADER + length])
            del self._buffer[: HEADER + length]
            yield body

    def _oversized(self, length: int) -> ChannelError:
        told = f"A frame of {length} bytes is over the limit of {self._limit}"
        if length > 16 * self._limit:
            self._buffer.clear()
            self._lost = True
            return FramingLost(told)
        self._skip = length
        return BadFrame(told)

    @property
    def within_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer or self._skip)

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun and not ended."""
        return len(self._buffer)


def encode_frame(message: Message, limit: int, key: str | None = None) -> bytes:
    """Turn a message into a frame.

    Args:
        limit: bytes of its body.
        key: its id, if that is not the message's own.

    Raises:
        BadFrame: it is over the limit, or holds what JSON cannot say.
    """
    try:
        value = message.to_json()
        if key is not None:
            value["id"] = key
        body = write_json(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadFrame(f"The message cannot be written as JSON: {error}") from None
    if len(body) > limit:
        raise BadFrame(f"A message of {len(body)} bytes is over the limit of {limit}")
    return len(body).to_bytes(HEADER, "big") + body


def decode_message(body: bytes) -> Message:
    """Turn a frame's body into a message.

    Raises:
        BadFrame: it is no such object; the message says why.
    """
    try:
        found = read_json(body)
    except UnicodeDecodeError:
        raise BadFrame("The frame is not UTF-8") from None
    except RecursionError:
        raise BadFrame("The frame's JSON is nested too deeply") from None
    except ValueError as error:
        raise BadFrame(f"The frame is not JSON: {str(error)[:200]}") from None
    return _as_message(found)


def _as_message(found: object) -> Message:
    if not isinstance(found, dict):
        raise BadFrame("The frame's JSON is no object")
    if not isinstance(found.get("command"), str):
        raise BadFrame("The frame has no text in its field command")
    for key in ("id", "reply_to"):
        value = found.get(key)
        if value is not None and not isinstance(value, str):
            raise BadFrame(f"The frame's field {key} is no text")
        if value is not None and len(value) > ID_LIMIT:
            raise BadFrame(f"The frame's field {key} is over {ID_LIMIT} characters")
    return Message(
        command=found.pop("command"),
        data=found.pop("data", None),
        id=found.pop("id", None),
        reply_to=found.pop("reply_to", None),
        extra=found,
    )
