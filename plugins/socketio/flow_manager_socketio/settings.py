"""What an operator may choose about the Socket.IO frontend."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from attrs import field, frozen, validators


def _each_is_a_network(_settings: object, attribute: Any, value: tuple[str, ...]) -> None:
    for one in value:
        try:
            ip_network(one, strict=False)
        except ValueError:
            raise ValueError(f"{attribute.name}: {one!r} is no address and no network") from None


@frozen(kw_only=True)
class SocketIOSettings:
    """Limits and intervals. Durations are seconds.

    Args:
        ping_interval: between two pings to a client (Engine.IO's own default: 25).
        ping_timeout: how long a client may take to answer one (Engine.IO's own default: 20).
        max_message_bytes: of one packet from a client; above the frame limit of 1 MiB with room
            for the packet's other fields.
        requests_in_flight: of one client; more are answered with an error at once.
        client_queue: packets that may wait for one client before it counts as too slow.
        client_queue_bytes: characters that may wait likewise; one large answer always may.
        request_rate: requests a second of one client that are taken; more are read later.
        request_burst: requests that a client may send at once beyond its rate.
        max_clients: clients that are let in at once.
        connect_timeout: how long a connection may stay without having been let in.
        max_strangers: connections, and likewise sessions, that nobody was let in on; beyond it
            the oldest is closed. With TLS each costs some 0.3 MB.
        allowed_hosts: names accepted in a request's ``Host`` besides the loopback ones; ``*`` for
            any. Where none are given: also any address, and this machine's own name.
        trusted_proxies: addresses and networks (``10.0.0.0/8``) whose ``X-Forwarded-For``,
            ``X-Forwarded-Proto`` and ``Forwarded`` are believed.

    Raises:
        ValueError: a number is not more than 0, a proxy is no address and no network.
    """

    ping_interval: float = field(default=25.0, validator=validators.gt(0))
    ping_timeout: float = field(default=20.0, validator=validators.gt(0))
    max_message_bytes: int = field(default=2 * 1024 * 1024, validator=validators.gt(0))
    requests_in_flight: int = field(default=256, validator=validators.gt(0))
    client_queue: int = field(default=2_000, validator=validators.gt(0))
    client_queue_bytes: int = field(default=32 * 1024 * 1024, validator=validators.gt(0))
    request_rate: float = field(default=2_500.0, validator=validators.gt(0))
    request_burst: int = field(default=5_000, validator=validators.gt(0))
    max_clients: int = field(default=2_000, validator=validators.gt(0))
    connect_timeout: float = field(default=5.0, validator=validators.gt(0))
    max_strangers: int = field(default=256, validator=validators.gt(0))
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = field(default=(), validator=_each_is_a_network)
