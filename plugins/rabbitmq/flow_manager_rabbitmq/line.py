"""One connection to the broker, from its opening to its end; it is never repaired."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import aio_pika
import anyio
from aio_pika.abc import (
    AbstractChannel,
    AbstractExchange,
    AbstractMessage,
    ConnectionParameter,
)
from aio_pika.exceptions import (
    AuthenticationError,
    ChannelClosed,
    ChannelNotFoundEntity,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.abc import DeliveredMessage

from flow_manager_rabbitmq.address import Places
from flow_manager_rabbitmq.calls import BrokerLost, ask
from flow_manager_rabbitmq.settings import RabbitMQSettings
from flow_manager_rabbitmq.wire import UnusableCertificates, Wire

T = TypeVar("T")

#: Seconds for a connection to end in order; after that it is cut.
_CLOSING = 0.3

#: Seconds in which aiormq says that a connection is not blocked; between two looks at one that is.
_READY, _RELIEF = 0.02, 0.3

#: What aiormq raises when the broker says no to a name, a password or a virtual host.
_NO = (AuthenticationError, ProbableAuthenticationError, InvalidFrameError)

#: What ends a TLS connection before it has begun, and would each time.
_UNTRUSTED = (ssl.SSLCertVerificationError, UnusableCertificates)

OnCommand = Callable[[DeliveredMessage], Coroutine[Any, Any, None]]


class BrokerRefused(BrokerLost):
    """The broker is there and will not have us: trying again changes nothing."""


class _Connection(aio_pika.Connection):
    PARAMETERS = (
        *aio_pika.Connection.PARAMETERS,
        ConnectionParameter(name="transport_factory", parser=lambda wire: wire, is_kwarg=True),
    )


class Line:
    """What the frontend asks of a broker. Every method raises `BrokerLost` when it is not met.

    Two channels: events that wait for their confirmation hold up no answer.
    """

    def __init__(self, places: Places, settings: RabbitMQSettings) -> None:
        self._places = places
        self._settings = settings
        self._wire = Wire(places.url)
        self._connection = _Connection(places.url, transport_factory=self._wire)
        self._connection.close_callbacks.add(self._ended)
        self._commands: AbstractChannel
        self._events: AbstractExchange
        self._consumer: str | None = None
        #: Set when the connection or a part of it that matters has ended.
        self.lost: anyio.Event = anyio.Event()
        self.reason: str = "it was closed"
        #: Whether it ended because the broker sent what no client library can read.
        self.unreadable: bool = False

    async def open(self) -> None:
        """Connect, and see to it that the queue and the exchange are there.

        Raises:
            BrokerRefused: a wrong password or certificate, no such virtual host, no right to use
                the queue or the exchange, or they are there and of another kind.
        """
        await self.greet()
        with _refusing(ChannelClosed):
            await self._declare()

    async def greet(self) -> None:
        """Connect, and no more.

        Raises:
            BrokerRefused: a wrong password or certificate, or no such virtual host.
        """
        seconds = self._settings.connect_timeout
        with _refusing(*_UNTRUSTED):
            await ask(self._wire.dial(), seconds)
        with _refusing(*_NO, told=self._refusal):
            await ask(self._connection.connect(), seconds)

    def _refusal(self, cause: BaseException) -> str:
        if isinstance(cause, InvalidFrameError):
            # aiormq does not say what it read in place of the virtual host's being opened.
            vhost = self._places.url.path.removeprefix("/") or "/"
            return f"the broker does not open the virtual host {vhost!r}"
        return f"the broker refuses the user or the password: {cause}"

    async def _declare(self) -> None:
        if not await self._has_queue():
            made = await self._channel()
            await self._ask(made.declare_queue(self._places.queue, durable=True))
            await self._ask(made.close())
        self._commands = await self._channel()
        events = await self._channel()
        self._events = await self._ask(
            events.declare_exchange(
                self._places.exchange, aio_pika.ExchangeType.TOPIC, durable=True
            )
        )
        for channel in (self._commands, events):
            channel.close_callbacks.add(self._ended)

    async def _has_queue(self) -> bool:
        """Whether the queue is there: an operator may have made it as wanted, quorum and all."""
        looking = await self._channel()
        try:
            await self._ask(looking.declare_queue(self._places.queue, passive=True))
        except BrokerLost as error:
            if isinstance(error.__cause__, ChannelNotFoundEntity):
                return False
            raise
        await self._ask(looking.close())
        return True

    async def _channel(self) -> AbstractChannel:
        channel = self._connection.channel(publisher_confirms=True, on_return_raises=False)
        await self._ask(channel.initialize())
        return channel

    async def _ask(self, what: Awaitable[T]) -> T:
        return await ask(what, self._settings.call_timeout)

    async def consume(self, on_command: OnCommand, prefetch: int) -> None:
        """Have commands delivered, in the queue's order; at most `prefetch` not acknowledged.

        They come as aiormq has them: aio-pika's own messages cannot be made of all properties.
        """
        await self._ask(self._commands.set_qos(prefetch_count=prefetch))
        channel = await self._commands.get_underlay_channel()
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        # Exclusive: a second manager of this instance would break the order.
        consuming = channel.basic_consume(self._places.queue, on_command, exclusive=True)
        self._consumer = (await self._ask(consuming)).consumer_tag

    async def stop(self) -> None:
        """Have no more commands delivered."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            channel = await self._commands.get_underlay_channel()
            await self._ask(channel.basic_cancel(consumer))

    async def answer(self, message: AbstractMessage, reply_to: str) -> bool:
        """Put a message into a queue; return whether there is one of that name.

        Waits while the broker is blocked: the command would only come again if this line ended.
        """
        sent = self._commands.default_exchange.publish(message, reply_to, mandatory=True)
        confirmed = await ask(sent, self._settings.call_timeout, self.blocked)
        return not isinstance(confirmed, DeliveredMessage)

    async def acknowledge(self, tag: int) -> None:
        """Let the broker forget a command."""
        channel = await self._commands.get_underlay_channel()
        await self._ask(channel.basic_ack(tag))

    async def discard_first(self) -> None:
        """Take the first command off the queue unseen; reading it may end the line."""
        channel = await self._commands.get_underlay_channel()
        await self._ask(channel.basic_get(self._places.queue, no_ack=True))

    async def tell(self, message: AbstractMessage, key: str) -> None:
        """Give an event to the exchange, and wait for the broker to have it."""
        await self._ask(self._events.publish(message, key, mandatory=False))

    async def blocked(self) -> bool:
        """Whether the broker has said that it reads nothing more, for want of memory or disk."""
        below = self._connection.transport
        if below is None or self.lost.is_set():
            return False
        with anyio.move_on_after(_READY):
            await below.ready()
            return False
        return True

    async def relieved(self) -> None:
        """Wait until the broker reads again, or the line ends."""
        while await self.blocked():
            with anyio.move_on_after(_RELIEF):
                await self.lost.wait()

    async def close(self) -> None:
        """End the connection, within about a second."""
        self.break_off("it was closed")
        below = self._connection.transport.connection if self._connection.transport else None
        try:
            await ask(self._connection.close(), _CLOSING)
        except BrokerLost:
            pass  # it is cut all the same
        finally:
            self._wire.cut()
        if below is not None and not below.is_closed:
            # Its tasks end now that their socket has.
            with anyio.CancelScope(shield=True):
                await asyncio.wait({below.closing}, timeout=_CLOSING)

    def break_off(self, reason: str) -> None:
        """Say that the line is of no use any more; the first reason stays."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()

    def _ended(self, _sender: object, error: BaseException | None) -> None:
        if not self.lost.is_set():
            self.unreadable = isinstance(error, (InvalidFrameError, OverflowError))
        self.break_off(str(error) or type(error).__name__)

    def _cancelled(self, _frame: object) -> None:
        self.break_off("the queue of commands was deleted")


@contextmanager
def _refusing(
    *causes: type[Exception], told: Callable[[BaseException], str] = str
) -> Iterator[None]:
    """Take failures for these causes as the broker's last word."""
    try:
        yield
    except BrokerLost as error:
        if isinstance(error.__cause__, causes):
            raise BrokerRefused(told(error.__cause__)) from error.__cause__
        raise
