"""The frontend as `serve` uses it: bind, serve, relay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from flow_manager_core.contracts import Frontend, Gateway
from flow_manager_core.providers import ProviderContext
from flow_manager_socketio.access import open_keyring
from flow_manager_socketio.app import SocketIOApp, require_asyncio
from flow_manager_socketio.certificate import Certificate
from flow_manager_socketio.server import HttpServer, bind, url_of
from flow_manager_socketio.settings import SocketIOSettings
from flow_manager_socketio.visits import VisitLimits


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
    keyring = await open_keyring(context.core)
    certificate = Certificate(context.core, context.log)
    await certificate.load()
    limits = VisitLimits(settings.connect_timeout, settings.max_strangers)
    server = HttpServer(settings.max_message_bytes, limits, certificate.context, context.log)
    app = SocketIOApp(gateway, context.core, settings, context.log, keyring)
    unread = settings.ping_interval + settings.ping_timeout
    sockets = await bind(context.core.host, context.core.port, unread)
    scheme = "https" if certificate.context() else "http"
    addresses = [url_of(listener, scheme) for listener in sockets]
    # Clients are dismissed while the server still runs, so that they hear of it.
    async with certificate.renewing(), app.running(), server.serving(app, sockets):
        context.log.info("Listening", addresses=", ".join(addresses))
        try:
            yield SocketIOFrontend(addresses)
        finally:
            with anyio.CancelScope(shield=True):
                await app.close()
