"""The Socket.IO frontend inside a host's ASGI app: the host serves, the manager's life is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from flow_manager_core.contracts import Frontend, Gateway
from flow_manager_core.errors import ConfigurationError, ShuttingDown
from flow_manager_core.events import now
from flow_manager_core.models import Fault
from flow_manager_core.providers import FrontendProvider, ProviderContext
from flow_manager_core.wire import standard_format
from flow_manager_socketio.settings import SocketIOSettings

if TYPE_CHECKING:
    from flow_manager_socketio.app import SocketIOApp
    from flow_manager_socketio.line import Receive, Scope, Send

_ENTER = (
    "The host enters the manager in its lifespan; the manager is made with"
    " FlowManager(..., frontends=[mounted.provider])"
)


class MountedSocketIO(Frontend):
    """Lets Socket.IO clients in through a host's ASGI app; a frontend that listens nowhere itself.

    ::

        flows = MountedSocketIO()
        manager = FlowManager(settings, frontends=[flows.provider])

    The host mounts it, as in ``Mount("/flows", flows)``, and enters the manager. It serves for as
    long as the manager is entered; requests outside of that are answered with 503, and why.
    """

    def __init__(self) -> None:
        self._app: SocketIOApp | None = None

    @property
    def provider(self) -> FrontendProvider:
        """What `FlowManager` takes as one of its ``frontends``."""
        return FrontendProvider(
            name="socketio",
            summary="Socket.IO protocol v5 and HTTP, in a host's ASGI app",
            settings_class=SocketIOSettings,
            factory=self._serve,
        )

    @asynccontextmanager
    async def _serve(self, context: ProviderContext, gateway: Gateway) -> AsyncIterator[Frontend]:
        """Let clients in for as long as the context lasts.

        Raises:
            ConfigurationError: a setting is wrong or not safe, the event loop is not asyncio's,
                another manager is served here.
        """
        # Imported on use: listing plugins must not cost the import of a web server.
        from flow_manager_socketio.access import open_keyring
        from flow_manager_socketio.app import SocketIOApp, require_asyncio

        require_asyncio()
        keyring = await open_keyring(context.core)
        if self._app is not None:
            told = "this MountedSocketIO serves another manager: each needs one of its own"
            raise ConfigurationError([Fault("frontends", told)])
        self._app = SocketIOApp(
            gateway, context.core, context.settings, context.log, keyring=keyring
        )
        try:
            async with self._app.running():
                yield self
        finally:
            self._app = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry point."""
        from flow_manager_socketio.jsontext import dumps
        from flow_manager_socketio.responses import pass_lifespan, respond

        if scope["type"] == "lifespan":
            await pass_lifespan(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        else:
            error = ShuttingDown("The manager of this app is not entered", hint=_ENTER)
            body = dumps(standard_format(error, now())).encode()
            await respond(scope, send, 503, body, [(b"content-type", b"application/json")])
