"""A manager in a host: entered, left, entered again; errors and cancellation of the host's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.errors import EngineError, FlowManagerError
from flow_manager_core.providers import BackendProvider, FrontendProvider
from flow_manager_core.testing.memory_backend import memory_provider
from flow_manager_core.testing.memory_frontend import MemoryDoor, memory_frontend_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

pytestmark = pytest.mark.anyio

PATIENCE = 10.0


def managed(
    backend: BackendProvider | None = None,
    frontends: Sequence[FrontendProvider] = (),
    **settings: Any,
) -> FlowManager:
    return FlowManager(
        Settings(**({"journal": "memory"} | settings)),
        host=PluginHost(installed=False),
        backend=backend or memory_provider(),
        transport=memory_transport_provider(MemoryNetwork()),
        frontends=frontends,
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


async def busy(manager: FlowManager) -> None:
    """Ask for much at once, as clients do."""
    made = await manager.execute("create_container", {"image": "memory", "start": True})
    key = {"container_id": made["container_id"]}

    async def ask(name: str, **payload: object) -> None:
        with suppress(FlowManagerError):  # one ends what another needs
            await manager.execute(name, key | payload)

    async with anyio.create_task_group() as group:
        letter = {"message": {"command": "echo", "data": 1}, "delivery": "durable"}
        group.start_soon(partial(ask, "send_message", **letter))
        group.start_soon(ask, "restart_container")
        group.start_soon(ask, "stop_container")
    await ask("restart_container")
    await ask("delete_container")


@pytest.mark.parametrize("journal", ["memory", "sqlite"])
async def test_host_can_cancel_at_any_moment(tmp_path: Path, journal: str) -> None:
    done = 0
    # Steps of the event loop; what a disk takes part in has more of them.
    moments = range(0, 200, 2) if journal == "memory" else range(0, 12_000, 600)
    for steps in moments:
        manager = managed(journal=journal, state_dir=tmp_path)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_after, steps, scope)
                async with manager:
                    await busy(manager)
                    done += 1
                    await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert await told_of_a_create(manager) == "activity_log"
    assert 0 < done < len(moments)


async def cancel_after(steps: int, scope: anyio.CancelScope) -> None:
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def test_clients_of_a_host_that_is_cancelled_are_answered_and_told() -> None:
    door, heard, answers = MemoryDoor(), [], []
    manager = managed(frontends=[memory_frontend_provider(door)])

    async def hear(*, task_status: TaskStatus[None]) -> None:
        async with door.connect() as client:
            task_status.started()
            async for name, _ in client.events():
                heard.append(name)

    async def ask(*, task_status: TaskStatus[None]) -> None:
        stop = {"container_id": "one", "timeout": 0.3}
        async with door.connect() as client:
            task_status.started()
            answers.append(await client.request("stop_container", stop))

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as clients:
            with anyio.CancelScope() as scope:
                async with manager:
                    stubborn = {"image": "memory", "command": ["stubborn"], "name": "one"}
                    await manager.execute("create_container", stubborn | {"start": True})
                    await clients.start(hear)
                    await clients.start(ask)
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
                    await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert [event for event, _ in answers] == ["container_stopped"]
    assert {"status_changed", "manager_stopping"} <= set(heard)


def test_asyncios_own_cancellations_end_a_manager() -> None:
    manager = managed()

    async def live(begun: Callable[[], object]) -> None:
        async with manager:
            await manager.execute("create_container", {"image": "memory", "start": True})
            begun()
            await asyncio.Event().wait()

    async def host() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:
                await live(lambda: limit.reschedule(0))
        begun = asyncio.Event()
        task = asyncio.create_task(live(begun.set))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await told_of_a_create(manager) == "activity_log"

    asyncio.run(host())
