"""Flow Manager's channel over TCP: flows dial back with a secret of their own."""

from __future__ import annotations

from flow_manager_tcp.plugin import PROVIDER
from flow_manager_tcp.settings import TcpSettings

__all__ = ["PROVIDER", "TcpSettings"]
