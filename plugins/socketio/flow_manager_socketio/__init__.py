"""The Socket.IO frontend of Flow Manager: requests in, answers and events out, `/health` beside.

`plugin` registers it; `MountedSocketIO` puts it into the ASGI app of a host that serves by itself.
"""

from __future__ import annotations

from flow_manager_socketio.mounting import MountedSocketIO
from flow_manager_socketio.settings import SocketIOSettings

__all__ = ["MountedSocketIO", "SocketIOSettings"]
__version__ = "0.1.0"
