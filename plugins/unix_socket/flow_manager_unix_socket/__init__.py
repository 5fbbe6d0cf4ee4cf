"""Flow Manager's channel over Unix sockets: one socket for each container, mounted read-only."""

from __future__ import annotations

from flow_manager_unix_socket.plugin import PROVIDER
from flow_manager_unix_socket.settings import UnixSocketSettings

__all__ = ["PROVIDER", "UnixSocketSettings"]
