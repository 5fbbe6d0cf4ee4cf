"""A Socket.IO client that notes what it is told, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio

from tests.e2e.service import Service

#: Seconds that anything may take.
PATIENCE = 120.0


class Client:
    """One client; `told` are the events by name, each with the moment it came (seconds)."""

    def __init__(self) -> None:
        self._io = socketio.AsyncClient(reconnection=False)
        self._io.on("*", self._record)
        self._changed = asyncio.Event()
        self.told: dict[str, list[tuple[float, Any]]] = {}

    async def ask(self, request: str, **payload: Any) -> dict[str, Any]:
        """Send a request and return its answer.

        Raises:
            RuntimeError: it is an error.
        """
        answer: dict[str, Any] = await self._io.call(request, payload, timeout=PATIENCE)
        if answer.get("error"):
            raise RuntimeError(answer["message"])
        return answer

    async def heard(self, name: str, count: int) -> float:
        """Wait until an event came so many times; return when the last of them came.

        Raises:
            TimeoutError: it did not.
        """
        async with asyncio.timeout(PATIENCE):
            while len(self.told.get(name, ())) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.told[name][count - 1][0]

    async def _record(self, name: str, body: Any = None) -> None:
        self.told.setdefault(name, []).append((time.perf_counter(), body))
        self._changed.set()

    async def connect(self, service: Service, *events: str) -> None:
        """Connect, and be told of these events alone; without any, of all."""
        auth = {"token": service.token, **({"events": list(events)} if events else {})}
        await self._io.connect(service.url, auth=auth)

    async def close(self) -> None:
        """Disconnect."""
        await self._io.disconnect()


@asynccontextmanager
async def connected(service: Service, *events: str) -> AsyncIterator[Client]:
    """A connected client, told of these events alone; without any, of all."""
    client = Client()
    await client.connect(service, *events)
    try:
        yield client
    finally:
        await client.close()
