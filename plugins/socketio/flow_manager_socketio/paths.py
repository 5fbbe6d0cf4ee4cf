"""Where in a host's app a request leads."""

from __future__ import annotations

from flow_manager_socketio.line import Scope

PATH = "/socket.io"


def is_engine(scope: Scope) -> bool:
    """Whether a request is one of Socket.IO."""
    return route_of(scope).rstrip("/") == PATH


def route_of(scope: Scope) -> str:
    """The path below the point at which a host has mounted the app."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    # A proxy may have taken a prefix off the path which the host's own root still names.
    for prefix in (root, root.removeprefix(scope.get("app_root_path", ""))):
        if prefix and f"{path}/".startswith(f"{prefix}/"):
            return path.removeprefix(prefix)
    return path
