"""A manager with the RabbitMQ frontend, in memory but for the broker."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.providers import FrontendProvider
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine, memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider
from flow_manager_rabbitmq import RabbitMQSettings, plugin
from tests.support.rabbitmq import RabbitMQ


@pytest.fixture(scope="module")
def anyio_backend(watched: Callable[[str], Any]) -> Any:
    """The frontend is asyncio's alone."""
    return watched("asyncio")


@pytest.fixture
def instance() -> str:
    """A name that no other test's queues have."""
    return f"test-{secrets.token_hex(4)}"


Manage = Callable[..., AbstractAsyncContextManager[FlowManager]]


@pytest.fixture
def managing(rabbitmq: RabbitMQ, instance: str, tmp_path: Path) -> Manage:
    """Start a manager with settings of the frontend's; the manager's own are in ``core``."""

    @asynccontextmanager
    async def start(
        engine: MemoryEngine | None = None,
        beside: tuple[FrontendProvider, ...] = (),
        core: dict[str, Any] | None = None,
        **own: Any,
    ) -> AsyncIterator[FlowManager]:
        quick = RabbitMQSettings(url=rabbitmq.url, reconnect_delay=0.05, reconnect_limit=0.5)
        usual = {"instance": instance, "state_dir": tmp_path / "state", "port": 0, "token": "t"}
        usual["monitoring"] = False  # its updates are events that no test here asks for
        async with MemoryEngine(SCRIPTED).opened() as mine:
            manager = FlowManager(
                Settings(**{**usual, "recovery": "none", **(core or {})}),
                host=PluginHost(installed=False),
                provider_settings={"rabbitmq": evolve(quick, **own)},
                backend=memory_provider(engine or mine),
                transport=memory_transport_provider(MemoryNetwork()),
                frontends=[*plugin.flow_manager_frontends(), *beside],
            )
            async with manager:
                yield manager

    return start
