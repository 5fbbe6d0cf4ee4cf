"""uvicorn's protocols as this frontend takes them: each knows its visit, none writes a log."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import socket
import struct
from functools import partial
from typing import Any

from uvicorn.protocols.utils import is_ssl
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from flow_manager_socketio.visits import VISIT, Visit

#: Pieces of one WebSocket message: uvicorn keeps each as an object of its own.
_MOST_PIECES = 1_000
#: Bytes that may wait for a peer which asks for WebSocket pongs and does not read them.
_MOST_UNREAD = 256 * 1024
#: uvicorn logs every slip of a client, some with a traceback; what matters, `app` logs itself.
#: No logger of the process's, so that nobody can turn it on, or finds it among ours.
_SILENT = logging.Logger("silent", logging.CRITICAL + 1)  # noqa: LOG001


class Attended:
    """What both kinds of protocol have in common."""

    app_state: dict[str, Any]
    logger: logging.Logger

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _SILENT
        self._visit: Visit = self.app_state[VISIT]

    def connection_made(self, transport: Any) -> None:
        if is_ssl(transport) and not isinstance(transport, ClosedOnce):
            transport = ClosedOnce(transport)
        forget = partial(_forget_unsent, transport.get_extra_info("socket"))
        self._visit.ends_by(transport.abort, forget)
        super().connection_made(transport)  # type: ignore[misc]  # of the protocol beside

    def connection_lost(self, exc: Exception | None) -> None:
        self._visit.leave()
        super().connection_lost(exc)  # type: ignore[misc]


def _forget_unsent(opened: socket.socket) -> None:
    """Let the end of a connection be a reset.

    Else the kernel keeps up to 4 MiB, for minutes, for a peer whose window is shut.
    """
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class ClosedOnce:
    """A TLS transport that can be aborted however often it was closed.

    uvicorn closes twice. asyncio's then forgets what it has to abort, and waits 30 s for a peer
    that does not say goodbye: beyond the end of the service, and of the event loop.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Say goodbye and wait for the peer's."""
        if not self._transport.is_closing():
            self._transport.close()


class WebSocket(Attended, WebSocketsSansIOProtocol):
    """A WebSocket whose peer may send little until it is known, and no message in crumbs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn.logger = _SILENT
        self.conn.debug = False  # it would log every frame, tokens included

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._visit.writes_by(self._write)

    def _write(self, frame: bytes) -> bool:
        """Send a frame past `send`, which would make it anew for each client."""
        ready = self.handshake_complete and self.writable.is_set()
        if not ready or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(frame)
        return True

    def data_received(self, data: bytes) -> None:
        if self._visit.takes(len(data)):
            super().data_received(data)

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) >= _MOST_PIECES:
            self._visit.drop()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > _MOST_UNREAD:
            self._visit.drop()


def http_protocol() -> type[asyncio.Protocol]:
    """The HTTP parser that is installed: httptools, else h11."""
    if importlib.util.find_spec("httptools"):
        return _with_httptools()
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class H11(Attended, H11Protocol):
        """HTTP by h11."""

    return H11


def _with_httptools() -> type[asyncio.Protocol]:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class HttpTools(Attended, HttpToolsProtocol):
        """HTTP by httptools; unlike h11, it says nothing of a host that the target names."""

        def on_url(self, url: bytes) -> None:
            super().on_url(url)
            if not self.url.startswith(b"/"):
                raise ValueError("the request's target is no path")

    return HttpTools
