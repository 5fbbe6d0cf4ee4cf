"""Durable messages to the manager: kept until it has stored them, and sent again after a break."""

from __future__ import annotations

import secrets
import threading
import time
from itertools import takewhile
from typing import Callable

from flow_manager_sdk.channel import Channel
from flow_manager_sdk.errors import NotConnected
from flow_manager_sdk.frames import Message, encode
from flow_manager_sdk.spool import Kept, Spool

#: Messages that may wait to be stored; then `add` waits.
MOST = 1000
#: Seconds after which whoever waits looks whether it still should.
_GLANCE = 0.1


class Outgoing:
    """Messages numbered 1, 2, 3 ..., and the thread that sends them.

    Args:
        limit: bytes of one message's JSON.
        kept: what an earlier life left.
        spool: where it lasts; ``None``: it lasts as long as the process.
    """

    def __init__(self, limit: int, kept: Kept, spool: Spool | None) -> None:
        self._limit = limit
        self._spool = spool
        self._changed = threading.Condition()
        self._pending = dict(kept.pending)
        self._last = kept.last
        #: Names this numbering.
        self.source: str = kept.source
        self._channel: Channel | None = None
        self._window = 0
        self._stored = self._sent = 0
        self._thread: threading.Thread | None = None
        self._closing = False
        if not self.source:
            self._begin()

    def add(self, message: Message, timeout: float, wanted: Callable[[], bool]) -> None:
        """Keep a message, and have it sent.

        Args:
            timeout: seconds to wait while `MOST` wait already.
            wanted: asked meanwhile: is it still worth waiting?

        Raises:
            BadFrame: it is over the limit, or holds what JSON cannot say.
            NotConnected: too many waited for too long.
            SpoolFault: it cannot be kept.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while len(self._pending) >= MOST:
                left = deadline - time.monotonic()
                if left <= 0 or not wanted():
                    raise NotConnected(f"{MOST} messages wait for the manager to store them")
                self._changed.wait(min(left, _GLANCE))
            seq = self._last + 1
            _frame(seq, message, self._limit)
            if self._spool is not None:
                self._spool.keep(seq, message)
            self._last, self._pending[seq] = seq, message
            self._changed.notify_all()

    @property
    def last(self) -> int:
        """The number of the last message that was kept; 0: there was none."""
        with self._changed:
            return self._last

    def flush(self, timeout: float) -> bool:
        """Wait until the manager has stored all; tell whether it did in time (seconds)."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout)

    def connected(self, channel: Channel, stored: int, window: int) -> None:
        """A manager has said how much of this numbering it has stored."""
        with self._changed:
            if stored + 1 < min(self._pending, default=self._last + 1):
                # It has lost what it had stored: its journal is a new one.
                self._begin()
                channel.end()
                return
            self._drop_through(stored)
            self._channel, self._window, self._sent = channel, window, self._stored
            self._changed.notify_all()

    def lost(self, channel: Channel) -> None:
        """The connection ended."""
        with self._changed:
            if self._channel is channel:
                self._channel = None

    def stored(self, seq: int) -> None:
        """The manager has stored all up to this one."""
        with self._changed:
            self._drop_through(seq)
            self._changed.notify_all()

    def open(self) -> None:
        """Begin to send."""
        self._closing = False
        self._thread = threading.Thread(target=self._send, name="flow-outgoing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the sending; what waits is kept for the next life of the flow, if it has a spool."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        self.source = secrets.token_hex(8)
        waiting = [self._pending[seq] for seq in sorted(self._pending)]
        if self._spool is not None:
            self._spool.begin(self.source, waiting)
        self._pending = dict(enumerate(waiting, 1))
        self._last, self._stored, self._sent = len(waiting), 0, 0

    def _drop_through(self, seq: int) -> None:
        if seq <= self._stored:
            return
        self._stored = seq
        for each in list(takewhile(lambda each: each <= seq, self._pending)):
            del self._pending[each]
        if self._spool is not None:
            self._spool.drop_through(seq)

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._may_send())
                if self._closing:
                    return
                channel, self._sent = self._channel, self._sent + 1
                frame = _frame(self._sent, self._pending[self._sent], self._limit)
            if channel is not None:
                self._send_over(channel, frame)

    def _send_over(self, channel: Channel, frame: bytes) -> None:
        try:
            channel.send_frame(frame)
        except NotConnected:
            self.lost(channel)

    def _may_send(self) -> bool:
        following = self._sent + 1
        has_room = following <= self._stored + self._window
        return self._channel is not None and following in self._pending and has_room


def _frame(seq: int, message: Message, limit: int) -> bytes:
    return encode(message._replace(extra={**message.extra, "seq": seq}), limit)
