"""The frontend on a real manager, with a backend and a transport in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.providers import FrontendProvider
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine, memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider
from flow_manager_socketio import plugin
from flow_manager_socketio.app import SocketIOApp
from flow_manager_socketio.server import HttpServer, bind, url_of

pytestmark = pytest.mark.anyio
TOKEN = "a token of some length"


@asynccontextmanager
async def managed(
    frontends: Sequence[FrontendProvider], port: int = 0
) -> AsyncIterator[FlowManager]:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        manager = FlowManager(
            Settings(token=TOKEN, port=port),
            host=PluginHost(installed=False),
            backend=memory_provider(engine),
            transport=memory_transport_provider(MemoryNetwork()),
            frontends=frontends,
        )
        async with manager:
            yield manager


@pytest.fixture
async def person(meeting: Any) -> AsyncIterator[Any]:
    """A client of a manager of its own."""
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(managed(plugin.flow_manager_frontends()))
        yield await stack.enter_async_context(meeting(served_at(manager.addresses[0])))


def served_at(url: str) -> Any:
    return type("Served", (), {"url": url})()


async def test_container_is_made_run_and_deleted_by_a_client(person: Any) -> None:
    made = await person.ask("create_container", {"image": "memory", "name": "one"})
    assert await person.hears("container_created") == made
    key = made["container_id"]
    started = await person.ask("start_container", {"container_id": key})
    assert started == {"container_id": key, "status": "running"}
    assert (await person.hears("status_changed"))["new_state"] == "running"
    deleted = await person.ask("delete_container", {"container_id": key})
    assert deleted == {"container_id": key, "status": "deleted"}
    assert await person.hears("container_deleted") == deleted


@pytest.mark.parametrize("payload", [None, [], "text", 7, {"image": 7, "extra": 1}])
async def test_bad_request_is_a_validation_error_with_its_operation(
    person: Any, payload: Any
) -> None:
    answer = await person.ask("create_container", payload)
    assert answer["error_type"] == "validation_error"
    assert answer["details"]["operation"] == "create_container"


async def test_unknown_operation_is_a_validation_error(person: Any) -> None:
    for name in ("no_such_thing", "disconnect", "connect"):
        assert (await person.ask(name, {}))["error_type"] == "validation_error"
    assert "disconnected" not in person.names()


async def test_manager_that_cannot_bind_says_which_port() -> None:
    [listener] = await bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with listener, pytest.raises(ConfigurationError, match=f"{port} on 127.0.0.1 is already"):
        async with managed(plugin.flow_manager_frontends(), port):
            raise AssertionError("it started")


async def test_manager_inside_a_host_is_served_by_the_hosts_server(meeting: Any) -> None:
    async with managed([]) as manager:
        flows = SocketIOApp(manager, manager.settings)
        sockets = await bind("127.0.0.1", 0)
        async with (
            HttpServer(1_000_000).serving(flows, sockets),
            flows.running(),
            meeting(served_at(url_of(sockets[0]))) as client,
        ):
            assert (await client.ask("list_containers", {}))["count"] == 0
            assert (await client.hears("connected"))["backend"] == manager.backend_name
