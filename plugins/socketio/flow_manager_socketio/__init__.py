"""The Socket.IO frontend of Flow Manager: requests in, answers and events out, `/health` beside.

`plugin` registers it; `app.SocketIOApp` is the ASGI app for a host that serves by itself.
"""

from __future__ import annotations

__version__ = "0.1.0"
