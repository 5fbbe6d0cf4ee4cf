"""A client that follows output and reads when it is told to: Engine.IO by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio

from tests.e2e.service import Service

PATIENCE = 30.0
#: The largest message that python-socketio's client takes (aiohttp's own default).
LARGEST = 4 * 1024 * 1024


class Reader:
    """Keeps the lines it read, and where it is."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self.lines: list[str] = []
        self.cursor = ""
        self.largest = 0
        self.ended = False

    async def follow(self, container_id: str, **payload: Any) -> dict[str, Any]:
        """Begin to follow; what there is counts as read."""
        if self.cursor:
            payload["cursor"] = self.cursor
        answer = await self.ask(
            "get_container_logs", container_id=container_id, follow=True, **payload
        )
        if not answer.get("error"):
            self._take(answer)
        return answer

    async def ask(self, name: str, **payload: Any) -> dict[str, Any]:
        """Send a request; read until its answer."""
        await self._ws.send_str("421" + json.dumps([name, payload]))
        while True:
            kind, body = await self._read()
            if kind == "ack":
                return dict(body[0])

    async def until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Read until something is so."""
        with anyio.fail_after(patience):
            while not condition():
                await self._read()

    def _take(self, body: dict[str, Any]) -> None:
        self.lines += [line["line"] for line in body["lines"]]
        self.cursor = body["cursor"]

    async def _read(self) -> tuple[str, Any]:
        text = await self._ws.receive_str(timeout=PATIENCE)
        self.largest = max(self.largest, len(text.encode()))
        if text == "2":
            await self._ws.send_str("3")
        if text.startswith("431"):
            return "ack", json.loads(text[3:])
        if not text.startswith("42"):
            return "", None
        name, body = json.loads(text[2:])
        if name == "container_log":
            self._take(body)
        self.ended |= name == "container_log_ended"
        return name, body


@asynccontextmanager
async def reading(service: Service) -> AsyncIterator[Reader]:
    """Connect a reader."""
    url = f"{service.url}/socket.io/?EIO=4&transport=websocket"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url, max_msg_size=LARGEST) as ws,
    ):
        await ws.receive_str(timeout=PATIENCE)
        await ws.send_str("40" + json.dumps({"token": service.token, "events": []}))
        reader = Reader(ws)
        await ws.receive_str(timeout=PATIENCE)
        yield reader
