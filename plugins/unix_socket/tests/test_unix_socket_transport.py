"""Unix sockets do what every transport must."""

from __future__ import annotations

from flow_manager_core.testing.transport_suite import TransportSuite
from flow_manager_unix_socket.plugin import PROVIDER


class TestUnixSocketTransport(TransportSuite):
    provider = PROVIDER
