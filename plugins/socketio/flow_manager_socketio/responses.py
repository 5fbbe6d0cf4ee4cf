"""Plain answers to HTTP requests and refused WebSocket handshakes."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_socketio.line import Receive, Scope, Send

Headers = Sequence[tuple[bytes, bytes]]


async def respond(
    scope: Scope, send: Send, status: int, body: bytes = b"", headers: Headers = ()
) -> None:
    """Send a whole response; a WebSocket is refused with it before it opens.

    A server that cannot refuse a handshake with a body closes it, which ASGI makes a 403.
    """
    prefix = "http"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close"})
            return
        prefix = "websocket.http"
    length = (b"content-length", str(len(body)).encode())
    content_type = [(b"content-type", b"application/json")] if body else []
    start = {"type": f"{prefix}.response.start", "status": status}
    await send({**start, "headers": [length, *content_type, *headers]})
    await send({"type": f"{prefix}.response.body", "body": body})


async def pass_lifespan(receive: Receive, send: Send) -> None:
    """Let a server begin and end, for an app whose life is another's affair."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
