"""uvicorn for the references, set up as the service sets up its own."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Awaitable, Callable

import anyio
import socketio
import uvicorn

from flow_manager_core.service import event_loop_options

#: As in the service's own server: connections that may wait, and seconds at the end.
_BACKLOG = 2048
_GRACE = 0.5
#: As the service's own default: bytes of one message.
_MESSAGE_LIMIT = 2 * 1024 * 1024


def new_server() -> socketio.AsyncServer:
    """python-socketio as it comes."""
    return socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[])


def run(server: socketio.AsyncServer, prepare: Callable[[], Awaitable[None]] | None = None) -> None:
    """Serve on a free port of this machine until a signal comes; a line of JSON tells which.

    Args:
        prepare: done in the event loop before anybody is let in.
    """

    async def serve() -> None:
        if prepare is not None:
            await prepare()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(_BACKLOG)
            sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
            sys.stdout.flush()
            await uvicorn.Server(_config(server)).serve([listener])

    anyio.run(serve, backend_options=event_loop_options())


def _config(server: socketio.AsyncServer) -> uvicorn.Config:
    return uvicorn.Config(
        socketio.ASGIApp(server),
        http="auto",
        ws="websockets-sansio",
        ws_max_size=_MESSAGE_LIMIT,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE,  # type: ignore[arg-type]  # any number will do
    )
