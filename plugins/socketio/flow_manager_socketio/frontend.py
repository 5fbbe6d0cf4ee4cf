"""The frontend as `serve` uses it: bind, serve, relay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from flow_manager_core.contracts import Frontend, Gateway
from flow_manager_core.providers import ProviderContext
from flow_manager_socketio.access import open_keyring
from flow_manager_socketio.app import SocketIOApp, require_asyncio
from flow_manager_socketio.server import HttpServer, bind, url_of
from flow_manager_socketio.settings import SocketIOSettings


class SocketIOFrontend(Frontend):
    """Serves Socket.IO clients and ``/health`` on the addresses it names."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses: Sequence[str] = tuple(addresses)


@asynccontextmanager
async def serve(context: ProviderContext, gateway: Gateway) -> AsyncIterator[Frontend]:
    """Serve for as long as the context lasts.

    Raises:
        ConfigurationError: a setting is wrong or not safe, the port is taken, the event loop is
            not asyncio's.
    """
    require_asyncio()
    settings: SocketIOSettings = context.settings
    server = HttpServer(settings.max_message_bytes)
    keyring = await open_keyring(context.core)
    app = SocketIOApp(gateway, context.core, settings, context.log, server.abort, keyring)
    sockets = await bind(context.core.host, context.core.port)
    addresses = [url_of(listener) for listener in sockets]
    # Clients are dismissed while the server still runs, so that they hear of it.
    async with app.running(), server.serving(app, sockets):
        context.log.info("Listening", addresses=", ".join(addresses))
        try:
            yield SocketIOFrontend(addresses)
        finally:
            with anyio.CancelScope(shield=True):
                await app.close()
