"""The bare echo: a python-socketio server that answers by itself, and emits when it is told to."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.references.flow import told
from benchmarks.references.serving import new_server, run

server = new_server()


@server.event  # type: ignore[untyped-decorator]
async def send_message(_sid: str, payload: dict[str, Any]) -> Any:
    """Acknowledge with the message; everyone hears of ``tell`` and ``burst``, as of a flow's."""
    message = payload["message"]
    if message["command"] == "tell":
        await emit(told(message["data"]))
    elif message["command"] == "burst":
        server.start_background_task(burst, **message["data"])
    return message


async def burst(count: int, size: int, rate: float) -> None:
    """Emit many messages at a pace, and then say that it is over."""
    begun = time.monotonic()
    for sent in range(1, count + 1):
        await emit({"command": "burst", "data": "x" * size})
        await asyncio.sleep(begun + sent / rate - time.monotonic())
    await emit({"command": "over", "data": None})


async def emit(message: dict[str, Any]) -> None:
    """Tell everyone."""
    await server.emit("message_received", {"message": message})


if __name__ == "__main__":
    run(server)
