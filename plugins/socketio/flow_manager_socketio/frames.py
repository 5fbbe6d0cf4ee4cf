"""WebSocket frames as a server sends them (RFC 6455, section 5.2)."""

from __future__ import annotations

import struct

#: The final frame of a message, and the only one, of text.
_TEXT = 0x81
#: What the second byte says where the length follows in two bytes, or in eight.
_SHORT, _LONG = 126, 127


def text_frame(text: str) -> bytes:
    """Write a message as one frame, without a mask and without an extension."""
    payload = text.encode()
    size = len(payload)
    if size < _SHORT:
        return struct.pack("!BB", _TEXT, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", _TEXT, _SHORT, size) + payload
    return struct.pack("!BBQ", _TEXT, _LONG, size) + payload
