"""What an operator may choose about the Socket.IO frontend."""

from __future__ import annotations

from attrs import frozen

from flow_manager_core.models import Fault


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
    """

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    max_message_bytes: int = 2 * 1024 * 1024
    requests_in_flight: int = 256
    client_queue: int = 2_000
    client_queue_bytes: int = 32 * 1024 * 1024
    connect_timeout: float = 5.0
    allowed_hosts: tuple[str, ...] = ()

    def faults(self) -> list[Fault]:
        """Name every number that is not positive."""
        names = (
            "ping_interval",
            "ping_timeout",
            "max_message_bytes",
            "requests_in_flight",
            "client_queue",
            "client_queue_bytes",
            "connect_timeout",
        )
        wrong = [name for name in names if getattr(self, name) <= 0]
        return [Fault(f"frontend.socketio.{name}", "must be more than 0") for name in wrong]
