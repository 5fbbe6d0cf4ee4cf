"""The frontend in memory does what every frontend must."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from flow_manager_core.providers import FrontendProvider
from flow_manager_core.testing.frontend_cases.clients import FrontendClient
from flow_manager_core.testing.frontend_suite import FrontendSuite
from flow_manager_core.testing.memory_frontend import MemoryDoor, memory_frontend_provider


class TestMemoryFrontend(FrontendSuite):
    door: ClassVar[MemoryDoor]
    provider: ClassVar[FrontendProvider]

    @pytest.fixture(autouse=True)
    def _door(self) -> None:
        type(self).door = MemoryDoor()
        type(self).provider = memory_frontend_provider(self.door)

    @asynccontextmanager
    async def client(self, address: str) -> AsyncIterator[FrontendClient]:
        async with self.door.connect() as client:
            yield client
