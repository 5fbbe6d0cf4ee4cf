"""The tests of one's own providers."""

from __future__ import annotations

import backend
import transport
from anyio.abc import ByteStream

from flow_manager_core.models import Attachment
from flow_manager_core.testing.backend_suite import BackendSuite
from flow_manager_core.testing.memory_backend import MemoryEngine, MemoryFlow, memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider
from flow_manager_core.testing.transport_suite import TransportSuite


class TestMyBackend(BackendSuite):
    provider = backend.PROVIDER
    image = "python:3.12-slim"
    python = ("python3",)
    unsupported_fields = frozenset({"network"})


class TestMyTransport(TransportSuite):
    provider = transport.PROVIDER

    async def connect(self, attachment: Attachment) -> ByteStream:
        return await MemoryNetwork().connect(attachment.environment)


async def program(flow: MemoryFlow) -> int:
    return 0 if flow.environment else 3


ENGINE = MemoryEngine({"mine": program})
PROVIDERS = (memory_provider(ENGINE), memory_transport_provider(MemoryNetwork()))


class TestWrong(BackendSuite):
    provider = transport.PROVIDER  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    image = 7  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
