"""The transport in memory does what every transport must."""

from __future__ import annotations

from typing import ClassVar

import pytest
from anyio.abc import ByteStream

from flow_manager_core.models import Attachment
from flow_manager_core.providers import TransportProvider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider
from flow_manager_core.testing.transport_suite import TransportSuite


class TestMemoryTransport(TransportSuite):
    network: ClassVar[MemoryNetwork]
    provider: ClassVar[TransportProvider]

    @pytest.fixture(autouse=True)
    def _network(self) -> None:
        type(self).network = MemoryNetwork()
        type(self).provider = memory_transport_provider(self.network)

    async def connect(self, attachment: Attachment) -> ByteStream:
        return await self.network.connect(attachment.environment)
