"""Plain answers to HTTP requests and refused WebSocket handshakes."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.contracts import Gateway
from flow_manager_core.errors import FlowManagerError
from flow_manager_socketio import jsontext
from flow_manager_socketio.line import Receive, Scope, Send

Headers = Sequence[tuple[bytes, bytes]]


def error_text(gateway: Gateway, status: int, error: FlowManagerError) -> str:
    """Write an error for a response of this status.

    A body that names an HTTP status names the one that it is sent with (RFC 9457, 3.1.2).
    """
    body = gateway.error_body(error)
    named = isinstance(body.get("status"), int)
    return jsontext.dumps({**body, "status": status} if named else body)


async def refuse(
    scope: Scope, send: Send, gateway: Gateway, status: int, error: FlowManagerError
) -> None:
    """Answer with an error."""
    body = error_text(gateway, status, error).encode()
    kind = gateway.error_media_type.encode("latin-1")
    await respond(scope, send, status, body, [(b"content-type", kind)])


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
    start = {"type": f"{prefix}.response.start", "status": status}
    await send({**start, "headers": [length, *headers]})
    await send({"type": f"{prefix}.response.body", "body": body})


async def pass_lifespan(receive: Receive, send: Send) -> None:
    """Let a server begin and end, for an app whose life is another's affair."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
