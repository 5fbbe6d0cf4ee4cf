"""Registers the frontend ``socketio``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from flow_manager_core.contracts import Frontend, Gateway
from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import FrontendProvider, ProviderContext
from flow_manager_socketio.examination import CHECKS
from flow_manager_socketio.settings import SocketIOSettings


def _open(context: ProviderContext, gateway: Gateway) -> AbstractAsyncContextManager[Frontend]:
    # Imported on use: listing plugins must not cost the import of a web server.
    from flow_manager_socketio.frontend import serve

    return serve(context, gateway)


@hookimpl
def flow_manager_frontends() -> Sequence[FrontendProvider]:
    """Offer the frontend."""
    return [
        FrontendProvider(
            name="socketio",
            summary="Socket.IO protocol v5 and HTTP, on asyncio",
            settings_class=SocketIOSettings,
            factory=_open,
            checks=CHECKS,
        )
    ]
