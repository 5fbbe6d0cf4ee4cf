"""What this package says to the manager by itself: that it is there, and that it still is."""

from __future__ import annotations

from flow_manager_sdk.frames import Message, encode

#: Asks whether the flow is there.
PING = "ping"
PONG = "pong"

#: A sign of life that was not asked for.
UNASKED = encode(Message(PONG))


def hello(**durable: object) -> bytes:
    """Make the first frame of each connection.

    The manager may ask for signs of life, and is answered even while handlers run.

    Args:
        durable: where the flow is with its durable messages.
    """
    return encode(Message("hello", {"protocol": 2, "heartbeat": True, "durable": durable}))


def answer(ping: Message) -> bytes:
    """Make the frame that answers a ping."""
    return encode(Message(PONG, reply_to=ping.id))
