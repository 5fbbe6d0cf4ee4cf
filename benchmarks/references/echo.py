"""The bare echo: a python-socketio server that answers by itself, and emits when it is told to."""

from __future__ import annotations

from typing import Any

from benchmarks.references.flow import told
from benchmarks.references.serving import new_server, run

server = new_server()


@server.event  # type: ignore[untyped-decorator]
async def send_message(_sid: str, payload: dict[str, Any]) -> Any:
    """Acknowledge with the message; of ``tell`` everyone hears, the time of it included."""
    message = payload["message"]
    if message["command"] == "tell":
        await server.emit("message_received", {"message": told(message["data"])})
    return message


if __name__ == "__main__":
    run(server)
