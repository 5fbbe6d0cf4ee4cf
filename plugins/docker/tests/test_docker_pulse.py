"""Which life of the engine this is, told over a connection of its own."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import anyio
import pytest
from anyio import to_thread

from flow_manager_core.errors import EngineUnavailable
from flow_manager_core.events import now
from flow_manager_core.models import ContainerState, EngineInfo
from flow_manager_core.settings import Settings
from flow_manager_docker import DockerBackend, pulse
from plugins.docker.tests.workshop import Workshop, clear
from tests.support.engine_proxy import EngineProxy
from tests.support.engine_relay import Fault
from tests.support.images import FLOW_IMAGE
from tests.support.restartable_engine import RestartableEngine

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

#: Everything but what a ping asks for.
OTHER_CALLS = "/containers/"


@pytest.fixture
async def fragile(
    restartable_engine: RestartableEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[DockerBackend, Workshop]]:
    """A backend on the engine that a test may mistreat."""
    monkeypatch.setenv("DOCKER_HOST", restartable_engine.url)
    shop = Workshop(FLOW_IMAGE)
    async with shop.open() as backend:
        assert isinstance(backend, DockerBackend)
        yield backend, shop


async def test_the_engine_says_what_it_is(backend: DockerBackend) -> None:
    told = await backend.ping()
    assert told.name == "docker"
    assert told.version[0].isdigit()
    assert told.details.keys() == {"ApiVersion", "Os", "Arch", "KernelVersion"}
    assert told.since is None or told.since < now()
    assert await backend.ping() == told


async def test_the_engines_process_is_part_of_its_life(restartable_engine: Any) -> None:
    started = pulse.process_name(restartable_engine.pid)
    assert started.startswith(f"{restartable_engine.pid}@")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", restartable_engine.url)
        told = await pulse.Pulse(5.0).ask()
    boot, process, created = told.life.split(" ")
    assert (boot, process) == (pulse.boot_id(), started)
    assert told.since is not None
    assert created.startswith(told.since.strftime("%Y-%m-%dT%H:%M:%S"))


@pytest.mark.parametrize("pid", [None, 0, 1, 2**22 + 1])
def test_what_is_not_the_engine_or_not_there_has_no_name(pid: int | None) -> None:
    assert pulse.process_name(pid) == ""


def test_a_process_has_one_name() -> None:
    assert pulse.process_name(os.getpid()) == pulse.process_name(os.getpid()) != ""


@pytest.mark.parametrize("killed", [False, True], ids=["terminated", "killed"])
@pytest.mark.parametrize("live_restore", [False, True], ids=["plain", "live-restore"])
async def test_a_restart_is_another_life(
    fragile: tuple[DockerBackend, Workshop],
    restartable_engine: RestartableEngine,
    killed: bool,
    live_restore: bool,
) -> None:
    backend, shop = fragile
    await to_thread.run_sync(lambda: restartable_engine.ensure(live_restore=live_restore))
    made = await shop.running(backend, shop.plan("a"))
    before = await backend.ping()
    assert before.keeps_flows is live_restore
    end = restartable_engine.kill if killed else restartable_engine.terminate
    await to_thread.run_sync(end)
    with pytest.raises(EngineUnavailable) as caught:
        await backend.ping()
    assert caught.value.unsent
    await to_thread.run_sync(lambda: restartable_engine.start(live_restore=live_restore))
    after = await backend.ping()
    assert after.life != before.life
    assert after.keeps_flows is live_restore
    seen = await backend.inspect(made)
    if live_restore:
        assert seen.state is ContainerState.RUNNING
        assert after.since == before.since
    else:
        assert_ended_by_the_engine(seen.finished_at, before, after)
    await clear(backend)


def assert_ended_by_the_engine(ended: Any, before: EngineInfo, after: EngineInfo) -> None:
    assert before.since and after.since and ended
    assert before.since < ended < after.since < now()


async def test_a_life_without_a_bridge_is_told_apart_all_the_same(
    fragile: tuple[DockerBackend, Workshop], restartable_engine: RestartableEngine
) -> None:
    backend, _ = fragile
    await to_thread.run_sync(lambda: restartable_engine.restart("--bridge=none"))
    first = await backend.ping()
    await to_thread.run_sync(lambda: restartable_engine.restart("--bridge=none"))
    second = await backend.ping()
    assert first.since is second.since is None
    assert "" != first.life != second.life != ""


async def test_a_frozen_engine_is_found_out_within_three_seconds(
    fragile: tuple[DockerBackend, Workshop], restartable_engine: RestartableEngine
) -> None:
    backend, _ = fragile
    before = await backend.ping()
    restartable_engine.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(EngineUnavailable, match="within 3 seconds") as caught:
            await backend.ping()
        assert time.monotonic() - began < 4
        assert not caught.value.unsent
    finally:
        restartable_engine.thaw()
    assert await backend.ping() == before


async def test_a_ping_does_not_wait_for_calls_that_hang(shop: Workshop, proxy: EngineProxy) -> None:
    proxy.rule(OTHER_CALLS, Fault.HOLD)
    core = Settings(instance=shop.core.instance, request_timeout=4.0)
    async with shop.open(core) as backend, anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(unanswered, backend)
        await anyio.wait_all_tasks_blocked()
        began = time.monotonic()
        await backend.ping()
        assert time.monotonic() - began < 2
        proxy.refuse()


async def unanswered(backend: Any) -> None:
    with pytest.raises(EngineUnavailable):
        await backend.list()


async def test_an_engine_that_takes_no_more_connections_is_away(
    shop: Workshop, proxy: EngineProxy
) -> None:
    async with shop.open() as backend:
        await backend.ping()
        await backend.list()
        # As at the beginning of an engine's end: what is connected still gets its answers.
        socket = proxy.url.removeprefix("unix://")
        await to_thread.run_sync(os.unlink, socket)
        await backend.list()
        with pytest.raises(EngineUnavailable) as caught:
            await backend.ping()
        assert caught.value.unsent


async def test_what_costs_the_engine_much_is_asked_once_in_a_life(
    shop: Workshop, proxy: EngineProxy
) -> None:
    async with shop.open() as backend:
        for _ in range(5):
            await backend.ping()
    assert len(proxy.calls("/networks")) == 5
    assert len(proxy.calls("/info")) == 1


async def test_many_pings_leave_nothing_open(shop: Workshop, no_leaks: Any) -> None:
    async with shop.open() as backend, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(backend.ping)


async def test_a_ping_takes_milliseconds(backend: DockerBackend) -> None:
    await backend.ping()
    began = time.monotonic()
    for _ in range(20):
        await backend.ping()
    # A bound that a busy machine keeps, too; alone it is some 4 ms.
    assert timedelta(seconds=time.monotonic() - began) / 20 < timedelta(milliseconds=100)
