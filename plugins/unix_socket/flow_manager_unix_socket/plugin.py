"""What the entry point names: offers the transport ``unix_socket``."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import TransportProvider
from flow_manager_unix_socket.examination import CHECKS
from flow_manager_unix_socket.settings import UnixSocketSettings
from flow_manager_unix_socket.transport import unix_socket_transport

PROVIDER = TransportProvider(
    name="unix_socket",
    summary="a Unix socket for each container, mounted read-only",
    settings_class=UnixSocketSettings,
    factory=unix_socket_transport,
    checks=CHECKS,
)


@hookimpl
def flow_manager_transports() -> Sequence[TransportProvider]:
    """Offer the transport."""
    return [PROVIDER]
