"""The RabbitMQ frontend does what every frontend must."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from flow_manager_core.testing.frontend_cases.clients import FrontendClient
from flow_manager_core.testing.frontend_suite import FrontendSuite
from flow_manager_rabbitmq import RabbitMQSettings, plugin
from plugins.rabbitmq.tests.amqp_client import amqp_client
from tests.support.rabbitmq import RabbitMQ


class TestRabbitMQFrontend(FrontendSuite):
    [provider] = plugin.flow_manager_frontends()
    settings: ClassVar[object]
    core: ClassVar[Mapping[str, Any]]
    kept = True

    @pytest.fixture(autouse=True)
    def _broker(self, rabbitmq: RabbitMQ, instance: str) -> None:
        type(self).settings = RabbitMQSettings(url=rabbitmq.url)
        type(self).core = {"instance": instance}
        self.url = rabbitmq.url

    @asynccontextmanager
    async def client(self, address: str) -> AsyncIterator[FrontendClient]:
        async with amqp_client(self.url, self.core["instance"]) as client:
            yield client
