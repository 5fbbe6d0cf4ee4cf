"""The bare relay: Socket.IO to a flow's Unix socket and back, and nothing else at all.

``python -m benchmarks.references.relay PATH``: the flow listens at the path.
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import count
from typing import Any

from benchmarks.references.serving import new_server, run

server = new_server()
questions: dict[str, asyncio.Future[Any]] = {}
ids = count(1)
link: dict[str, Any] = {}


@server.event  # type: ignore[untyped-decorator]
async def send_message(_sid: str, payload: dict[str, Any]) -> Any:
    """Pass a message on; wait for its answer where one is asked for."""
    message = payload["message"]
    if not payload.get("reply"):
        write(message)
        return {"status": "sent"}
    key = str(next(ids))
    answered = questions[key] = asyncio.get_running_loop().create_future()
    write({**message, "id": key})
    return await answered


def write(message: dict[str, Any]) -> None:
    """Send a frame."""
    body = json.dumps(message).encode()
    link["writer"].write(len(body).to_bytes(4, "big") + body)


async def read(reader: asyncio.StreamReader) -> None:
    """Give answers to who waits for them, and all else to everyone."""
    while True:
        length = int.from_bytes(await reader.readexactly(4), "big")
        message = json.loads(await reader.readexactly(length))
        if key := message.get("reply_to"):
            questions.pop(key).set_result(message)
        else:
            await server.emit("message_received", {"message": message})


async def prepare() -> None:
    """Connect to the flow."""
    reader, link["writer"] = await asyncio.open_unix_connection(sys.argv[1])
    link["reading"] = asyncio.ensure_future(read(reader))


if __name__ == "__main__":
    run(server, prepare)
