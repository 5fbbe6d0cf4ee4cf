"""What the entry point names: offers the transport ``tcp``."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import TransportProvider
from flow_manager_tcp.examination import CHECKS
from flow_manager_tcp.settings import TcpSettings
from flow_manager_tcp.transport import tcp_transport

PROVIDER = TransportProvider(
    name="tcp",
    summary="one TCP port, and a secret for each container",
    settings_class=TcpSettings,
    factory=tcp_transport,
    checks=CHECKS,
)


@hookimpl
def flow_manager_transports() -> Sequence[TransportProvider]:
    """Offer the transport."""
    return [PROVIDER]
