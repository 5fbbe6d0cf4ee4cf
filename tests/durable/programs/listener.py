"""A client that must not miss an event; it may be killed at any time.

``listener.py HOME TOKEN LOG``: the manager's address stands in ``HOME/url``. Each event goes to the
file ``LOG`` as one line of JSON, and the next life goes on after the last whole line of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any, TextIO

import socketio
from socketio.exceptions import SocketIOError

HOME, TOKEN, LOG = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
PATIENCE = 20.0


def position() -> dict[str, Any] | None:
    """Where the last event stood; a line that a kill cut off is taken away."""
    if not LOG.exists():
        return None
    whole = LOG.read_bytes()
    whole = whole[: whole.rfind(b"\n") + 1]
    with LOG.open("r+b") as log:
        log.truncate(len(whole))
    if not whole:
        return None
    last = json.loads(whole.splitlines()[-1])["body"]
    return {"epoch": last["epoch"], "seq": last["seq"]}


def appending(path: Path) -> TextIO:
    """Open the log; nobody waits for this loop."""
    return path.open("a")


async def greeting(url: str) -> dict[str, Any]:
    """What a new client is told."""
    client = socketio.AsyncClient(reconnection=False)
    told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    client.on("connected", told.set_result)
    try:
        await client.connect(url, auth={"token": TOKEN, "events": []}, wait_timeout=PATIENCE)
        return await asyncio.wait_for(told, PATIENCE)
    finally:
        await client.shutdown()


async def listen() -> None:
    """Follow the events until the connection ends."""
    url = (HOME / "url").read_text()
    since = position() or {"epoch": (await greeting(url))["epoch"], "seq": 0}
    client = socketio.AsyncClient(reconnection=False)
    ended = asyncio.Event()
    with appending(LOG) as log:

        def note(name: str, body: dict[str, Any]) -> None:
            if "seq" in body and name != "connected":
                log.write(json.dumps({"event": name, "body": body}) + "\n")
                log.flush()

        client.on("*", note)
        client.on("disconnect", lambda *_: ended.set())
        try:
            auth = {"token": TOKEN, "since": since}
            await client.connect(url, auth=auth, wait_timeout=PATIENCE)
            await ended.wait()
        finally:
            await client.shutdown()


async def main() -> None:
    while True:
        with contextlib.suppress(SocketIOError, OSError, TimeoutError):
            await listen()
        await asyncio.sleep(0.05)


asyncio.run(main())
