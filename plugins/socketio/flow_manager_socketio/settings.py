"""What an operator may choose about the Socket.IO frontend."""

from __future__ import annotations

from attrs import field, frozen, validators


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
        connect_timeout: how long a connection may stay without having been let in.
        allowed_hosts: names accepted in a request's ``Host`` besides the loopback ones; ``*`` for
            any. Where none are given, ``Host`` is checked on a loopback bind alone.

    Raises:
        ValueError: a number is not more than 0.
    """

    ping_interval: float = field(default=25.0, validator=validators.gt(0))
    ping_timeout: float = field(default=20.0, validator=validators.gt(0))
    max_message_bytes: int = field(default=2 * 1024 * 1024, validator=validators.gt(0))
    requests_in_flight: int = field(default=256, validator=validators.gt(0))
    client_queue: int = field(default=2_000, validator=validators.gt(0))
    client_queue_bytes: int = field(default=32 * 1024 * 1024, validator=validators.gt(0))
    connect_timeout: float = field(default=5.0, validator=validators.gt(0))
    allowed_hosts: tuple[str, ...] = ()
