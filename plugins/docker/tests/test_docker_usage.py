"""What running containers use, read from the kernel's files."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from flow_manager_core.models import Resources, ResourceUsage
from flow_manager_docker import DockerBackend
from plugins.docker.tests.workshop import Workshop

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

LIMIT = 64 * 1024 * 1024
BUSY = "print('ready', flush=True)\nwhile True: pass"
HOLDS = "b = b'x' * (32 * 1024 * 1024); print('ready', flush=True); import time; time.sleep(600)"


@pytest.fixture(autouse=True)
def local(docker_engine: Any) -> None:
    if not docker_engine.url.startswith("unix://"):
        pytest.skip("the engine is on another host")


async def used(backend: DockerBackend, container_id: str) -> ResourceUsage:
    found = await backend.usage(container_id)
    assert found is not None
    return found


async def test_memory_is_told_with_its_limit(backend: DockerBackend, shop: Workshop) -> None:
    made = await shop.running(backend, shop.script("a", HOLDS, resources=Resources(memory=LIMIT)))
    found = await used(backend, made)
    assert 32 * 1024 * 1024 < (found.memory_usage or 0) < LIMIT
    assert found.memory_limit == LIMIT
    assert 50 < (found.memory_percent or 0) < 100
    assert found.pids == 2  # the init and the program
    assert found.network_rx_bytes is not None


async def test_without_a_limit_it_is_the_hosts_memory(
    backend: DockerBackend, shop: Workshop, sdk: Any
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    assert (await used(backend, made)).memory_limit == sdk.info()["MemTotal"]


@pytest.mark.alone
async def test_the_processor_is_told_since_the_last_time_of_asking(
    backend: DockerBackend, shop: Workshop
) -> None:
    busy = await shop.running(backend, shop.script("busy", BUSY, resources=Resources(cpus=0.5)))
    idle = await shop.running(backend, shop.plan("idle"))
    await used(backend, idle)
    assert (await used(backend, busy)).cpu_percent
    await anyio.sleep(1)
    assert 20 < ((await used(backend, busy)).cpu_percent or 0) < 80
    assert ((await used(backend, idle)).cpu_percent or 0) < 10


async def test_what_does_not_run_uses_nothing_and_a_new_run_is_found(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = await backend.create(shop.plan("a"))
    assert await backend.usage(made.id) is None
    await backend.start(made.id)
    assert await backend.usage(made.id) is not None
    await backend.stop(made.id, 0)
    assert await backend.usage(made.id) is None
    await backend.start(made.id)
    assert await backend.usage(made.id) is not None


@pytest.mark.alone
async def test_measuring_again_takes_milliseconds(backend: DockerBackend, shop: Workshop) -> None:
    made = await shop.running(backend, shop.plan("a"))
    await used(backend, made)
    began = time.perf_counter()
    for _ in range(20):
        await used(backend, made)
    assert (time.perf_counter() - began) / 20 < 0.05
