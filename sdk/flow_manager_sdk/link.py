"""A connection that is made again after every break, in a thread of its own."""

from __future__ import annotations

import random
import threading
import time
from typing import Callable

from flow_manager_sdk.address import Address
from flow_manager_sdk.channel import Channel
from flow_manager_sdk.durable import Durable
from flow_manager_sdk.errors import BadFrame, NotConnected
from flow_manager_sdk.frames import Message
from flow_manager_sdk.signs import PING, UNASKED, answer
from flow_manager_sdk.telling import tell

#: Seconds before the first new try, and the most that doubling it leads to.
FIRST_DELAY = 0.02
LAST_DELAY = 1.0
#: Seconds after which a sender that waits for a connection looks whether it still should.
_GLANCE = 0.1


class Link:
    """Keeps a channel connected, and tells the manager that the flow lives.

    Args:
        address: of the manager.
        limit: bytes of one message's JSON.
        durable: what the flow and the manager must not lose.
        on_connected: called after each connect, in the link's thread.
        on_message: called with each message that is for the flow, in the link's thread.
    """

    def __init__(
        self,
        address: Address,
        limit: int,
        durable: Durable,
        on_connected: Callable[[], None],
        on_message: Callable[[Message], None],
    ) -> None:
        self._address = address
        self._limit = limit
        self._durable = durable
        self._on_connected = on_connected
        self._on_message = on_message
        self._channel: Channel | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        with self._changed:
            return self._channel is not None

    def open(self) -> None:
        """Begin to connect."""
        self._closing.clear()
        self._thread = threading.Thread(target=self._keep, name="flow-channel", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the connection, and wait until it has ended."""
        self._closing.set()
        with self._changed:
            if self._channel:
                self._channel.end()
        if self._thread:
            self._thread.join()

    def send_frame(self, frame: bytes, timeout: float, wanted: Callable[[], bool]) -> None:
        """Send, on this connection or the next one.

        Args:
            frame: what `frames.encode` made.
            timeout: seconds that a connection may take to come up.
            wanted: asked while there is no connection: is it still worth waiting?

        Raises:
            NotConnected: there was no connection in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            channel = self._connected(deadline, wanted)
            try:
                return channel.send_frame(frame)
            except NotConnected:
                # The manager drops a frame that is not whole, so it may be sent again.
                self._drop(channel)

    def show_life(self) -> None:
        """Tell that the flow is there, unasked."""
        self.send_now(UNASKED)

    def send_now(self, frame: bytes) -> None:
        """Send if there is a connection; one that is broken is let go."""
        with self._changed:
            channel = self._channel
        if channel is None:
            return
        try:
            channel.send_frame(frame)
        except NotConnected:
            self._drop(channel)

    def _connected(self, deadline: float, wanted: Callable[[], bool]) -> Channel:
        with self._changed:
            while self._channel is None:
                left = deadline - time.monotonic()
                if left <= 0 or not wanted():
                    told = "There is no connection to the manager at "
                    raise NotConnected(told + self._address.text)
                self._changed.wait(min(left, _GLANCE))
            return self._channel

    def _keep(self) -> None:
        delay, told = FIRST_DELAY, False
        while not self._closing.is_set():
            begun = time.monotonic()
            try:
                self._serve()
            except NotConnected as error:
                if delay == LAST_DELAY and not told:
                    tell(f"{error}; trying again")
                    told = True
            if time.monotonic() - begun > LAST_DELAY:
                delay, told = FIRST_DELAY, False
            # Flows that lost their manager together should not all come back at one moment.
            self._closing.wait(delay * random.uniform(0.5, 1))  # noqa: S311  # no secret
            delay = min(2 * delay, LAST_DELAY)

    def _serve(self) -> None:
        address = self._address
        with Channel(address.text, secret=address.secret, limit=self._limit).connect() as channel:
            channel.send_frame(self._durable.greeting())
            with self._changed:
                self._channel = channel
                self._changed.notify_all()
            try:
                self._on_connected()
                while not self._closing.is_set():
                    self._receive(channel)
            finally:
                self._drop(channel)

    def _receive(self, channel: Channel) -> None:
        try:
            message = channel.receive()
        except BadFrame as error:
            tell(str(error))
        else:
            self._take(channel, message)

    def _take(self, channel: Channel, message: Message) -> None:
        if message.command == PING:
            # Answered here, so that a long handler does not make the flow look dead.
            channel.send_frame(answer(message))
        elif not self._durable.controls(channel, message):
            mine = self._durable.take(channel, message)
            if mine is not None:
                self._on_message(mine)

    def _drop(self, channel: Channel) -> None:
        with self._changed:
            if self._channel is channel:
                self._channel = None
        self._durable.lost(channel)
