"""What an operator may choose about the RabbitMQ frontend."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen
from attrs.validators import ge, le, max_len
from yarl import URL

from flow_manager_core.models import Role

#: AMQP's own limit for the name of a queue or an exchange, in bytes; ours may hold an instance.
_NAME = 255


def _address(_settings: Any, _attribute: Attribute[Any], value: Any) -> None:
    """Check a broker's URL; the fault never quotes it: it may hold a password."""
    try:
        url = URL(value)
        good = url.scheme in ("amqp", "amqps") and bool(url.host) and url.port != 0
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError("url must be amqp://user:password@host:port/vhost, or amqps:// for TLS")


@frozen(kw_only=True)
class RabbitMQSettings:
    """Section ``[rabbitmq]``. Durations are seconds.

    Args:
        url: the broker, with user and password; RabbitMQ's own default is the user ``guest``, who
            is let in from the same machine alone. aiormq's query parameters (``cafile``,
            ``certfile``, ``keyfile``) serve for ``amqps``.
        role: what those who may write to the queue of commands may ask for.
        commands_queue: left empty: ``flow-manager.<instance>.commands``.
        events_exchange: left empty: ``flow-manager.<instance>.events``.
        prefetch: commands that may be under way at once, 1 to 1000.
        max_answer_bytes: of one answer; a larger one becomes an error. RabbitMQ 4 takes 16 MiB.
        max_command_bytes: of one command's body; above the frame limit of 1 MiB with room for the
            other fields. The broker's own limit says what is read at all.
        connect_timeout: for reaching the broker and declaring what is needed there.
        call_timeout: for one thing asked of the broker, such as the confirmation of an answer.
        heartbeat: between signs of life; after about three of them missed the line is given up.
        reconnect_delay: before the first try to come back after a loss; it doubles with each one.
        reconnect_limit: the longest delay between two tries.

    Raises:
        ValueError: a value is out of its bounds.
    """

    url: str = field(
        default="amqp://guest:guest@127.0.0.1:5672/",
        repr=False,
        validator=_address,
        metadata={"secret": True},
    )
    role: Role = Role.ADMIN
    commands_queue: str = field(default="", validator=max_len(_NAME))
    events_exchange: str = field(default="", validator=max_len(_NAME))
    prefetch: int = field(default=64, validator=[ge(1), le(1000)])
    max_command_bytes: int = field(default=2 * 1024 * 1024, validator=ge(1024))
    max_answer_bytes: int = field(default=16 * 1024 * 1024, validator=ge(1024))
    connect_timeout: float = field(default=5.0, validator=[ge(0.1), le(600)])
    call_timeout: float = field(default=5.0, validator=[ge(0.1), le(600)])
    heartbeat: int = field(default=10, validator=[ge(1), le(600)])
    reconnect_delay: float = field(default=0.2, validator=[ge(0.01), le(600)])
    reconnect_limit: float = field(default=10.0, validator=[ge(0.01), le(3600)])
