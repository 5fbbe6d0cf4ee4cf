"""What a flow and its manager say to one another so that no durable message is lost."""

from __future__ import annotations

from typing import Any

from flow_manager_sdk.channel import Channel
from flow_manager_sdk.frames import Message, encode
from flow_manager_sdk.outgoing import Outgoing
from flow_manager_sdk.signs import hello
from flow_manager_sdk.spool import Kept, Spool
from flow_manager_sdk.taken import Taken

WELCOME = "welcome"
ACK = "ack"


class Durable:
    """Both directions of one flow.

    Args:
        limit: bytes of one message's JSON.
        spool: a path, where what must outlive the process is kept; ``None``: nowhere.
    """

    def __init__(self, limit: int, spool: str | None) -> None:
        self._spool = None if spool is None else Spool(spool)
        kept = Kept("", 0, {}, "", 0) if self._spool is None else self._spool.load()
        self.outgoing: Outgoing = Outgoing(limit, kept, self._spool)
        self._taken = Taken(kept, self._spool)
        self._welcomed: Channel | None = None

    def greeting(self) -> bytes:
        """The first frame of a connection."""
        taken = self._taken
        return hello(source=self.outgoing.source, epoch=taken.epoch, seen=taken.seen)

    def controls(self, channel: Channel, message: Message) -> bool:
        """Take a message if it is one about messages; tell whether it was."""
        if message.command == WELCOME and self._welcomed is not channel:
            return self._welcome(channel, message.data)
        if message.command == ACK and self._welcomed is channel:
            return self._stored(message.data)
        return False

    def lost(self, channel: Channel) -> None:
        """A connection ended."""
        self.outgoing.lost(channel)

    def take(self, channel: Channel, message: Message) -> Message | None:
        """Take an ordinary message; ``None``: it is a repeat, which is acknowledged again if done.

        A durable message gets the manager's numbering among its `extra`, for `acknowledgement`.
        """
        seq = message.extra.get("seq")
        if self._welcomed is not channel or type(seq) is not int:
            return message
        if self._taken.take(seq):
            return message._replace(extra={**message.extra, "epoch": self._taken.epoch})
        if seq <= self._taken.seen:
            channel.send_frame(self._ack())
        return None

    def acknowledgement(self, message: Message) -> bytes | None:
        """The frame to send once a message was handled, if there is to be one."""
        seq, epoch = message.extra.get("seq"), message.extra.get("epoch")
        if type(seq) is not int or type(epoch) is not str or not self._taken.done(epoch, seq):
            return None
        return self._ack()

    def close(self) -> None:
        """Close the spool."""
        if self._spool is not None:
            self._spool.close()

    def _ack(self) -> bytes:
        return encode(Message(ACK, {"epoch": self._taken.epoch, "seq": self._taken.seen}))

    def _welcome(self, channel: Channel, data: Any) -> bool:
        if not isinstance(data, dict):
            return False
        epoch, stored, window = data.get("epoch"), data.get("stored"), data.get("window")
        if type(epoch) is not str or type(stored) is not int or type(window) is not int:
            return False
        self._welcomed = channel
        self._taken.begin(epoch)
        self.outgoing.connected(channel, stored, window)
        return True

    def _stored(self, data: Any) -> bool:
        if not isinstance(data, dict) or data.get("source") != self.outgoing.source:
            return False
        seq = data.get("seq")
        if type(seq) is int:
            self.outgoing.stored(seq)
        return True
