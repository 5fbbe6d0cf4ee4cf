"""The Socket.IO frontend does what every frontend must."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio

from flow_manager_core.testing.frontend_cases.clients import FrontendClient
from flow_manager_core.testing.frontend_suite import FrontendSuite
from flow_manager_core.testing.memory_client import Told
from flow_manager_socketio import plugin


class Adapter:
    """python-socketio's client. Its own answers are among what it hears."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncClient(reconnection=False)
        self._heard: asyncio.Queue[Told] = asyncio.Queue()
        self._names: dict[str, str] = {}
        self.sio.on("*", self._hear)

    async def _hear(self, name: str, body: Any) -> None:
        self._names[json.dumps(body)] = name
        self._heard.put_nowait((name, body))

    async def request(self, name: str, payload: object) -> Told:
        body = await self.sio.call(name, payload, timeout=60)
        # The response event is sent before the acknowledgement.
        return self._names[json.dumps(body)], body

    def events(self) -> AsyncIterator[Told]:
        return self

    def __aiter__(self) -> Adapter:
        return self

    async def __anext__(self) -> Told:
        return await self._heard.get()


class TestSocketIOFrontend(FrontendSuite):
    [provider] = plugin.flow_manager_frontends()

    @asynccontextmanager
    async def client(self, address: str) -> AsyncIterator[FrontendClient]:
        adapter = Adapter()
        await adapter.sio.connect(address, auth={"token": self.token}, transports=["websocket"])
        try:
            yield adapter
        finally:
            await adapter.sio.shutdown()
            http = adapter.sio.eio.http
            if http is not None and not http.closed:
                await http.close()
            await asyncio.sleep(0.02)  # python-socketio leaves a task running behind its back
