"""What this package says to the manager by itself: that it is there, and that it still is."""

from __future__ import annotations

from flow_manager_sdk.frames import Message, encode

#: Asks whether the flow is there.
PING = "ping"
PONG = "pong"

#: The first frame of each connection: the manager may ask for signs of life, and is answered
#: even while handlers run.
HELLO = encode(Message("hello", {"protocol": 1, "heartbeat": True}))
#: A sign of life that was not asked for.
UNASKED = encode(Message(PONG))


def answer(ping: Message) -> bytes:
    """Make the frame that answers a ping."""
    return encode(Message(PONG, reply_to=ping.id))
