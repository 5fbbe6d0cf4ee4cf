"""A manager in a host: entered, left, entered again; errors and cancellation of the host's own."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.errors import EngineError
from flow_manager_core.providers import BackendProvider
from flow_manager_core.testing.memory_backend import memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

pytestmark = pytest.mark.anyio

PATIENCE = 10.0


def managed(backend: BackendProvider | None = None) -> FlowManager:
    return FlowManager(
        Settings(journal="memory"),
        host=PluginHost(installed=False),
        backend=backend or memory_provider(),
        transport=memory_transport_provider(MemoryNetwork()),
    )


async def told_of_a_create(manager: FlowManager) -> str:
    """One life; gives the activity that a subscriber of that life hears first."""
    async with manager, manager.subscribe() as events:
        await manager.execute("create_container", {"image": "memory", "name": "one"})
        with anyio.fail_after(PATIENCE):
            return (await anext(events)).name


async def test_manager_that_was_left_can_be_entered_again() -> None:
    manager = managed()
    assert [await told_of_a_create(manager) for _ in range(3)] == ["activity_log"] * 3


def test_manager_can_be_entered_again_on_another_event_loop() -> None:
    manager = managed()
    for loop in ("asyncio", "trio", "asyncio", "trio"):
        assert anyio.run(told_of_a_create, manager, backend=loop) == "activity_log"


async def test_manager_is_entered_once_at_a_time() -> None:
    manager = managed()
    async with manager:
        with pytest.raises(RuntimeError, match="entered already"):
            async with manager:
                raise AssertionError("entered twice")
        assert (await manager.execute("list_containers", {}))["count"] == 0


async def test_start_that_failed_can_be_tried_again() -> None:
    whole = memory_provider()
    tries: list[object] = []

    def factory(context: Any) -> Any:
        tries.append(context)
        if len(tries) == 1:
            raise EngineError("not this time")
        return whole.factory(context)

    manager = managed(BackendProvider(name="memory", factory=factory))
    with pytest.raises(EngineError, match="not this time"):
        async with manager:
            raise AssertionError("it started")
    assert await told_of_a_create(manager) == "activity_log"


@pytest.mark.parametrize(
    "error", [ValueError("mine"), SystemExit(3), ExceptionGroup("mine", [OSError()])]
)
async def test_hosts_own_exception_comes_out_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with managed() as manager:
            await manager.execute("create_container", {"image": "memory", "start": True})
            raise error
    assert caught.value is error


async def test_host_can_cancel_what_it_does_with_a_manager() -> None:
    manager = managed()
    with anyio.CancelScope() as scope:
        async with manager:
            await manager.execute("create_container", {"image": "memory", "start": True})
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert await told_of_a_create(manager) == "activity_log"
