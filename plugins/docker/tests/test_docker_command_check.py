"""A program that is not there is refused; what an image has is asked for once."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_manager_core.errors import EngineError
from flow_manager_core.models import CreatePlan, Mount
from flow_manager_docker import DockerBackend
from plugins.docker.tests.workshop import Workshop
from tests.support.engine_proxy import EngineProxy

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


@pytest.fixture
def anyio_backend() -> str:
    """What is asked does not depend on the loop."""
    return "asyncio"


async def looks(backend: DockerBackend, proxy: EngineProxy, plan: CreatePlan) -> int:
    """How often a container's files are asked for at its first start."""
    before = len(proxy.calls("^HEAD .*/archive"))
    made = await backend.create(plan)
    try:
        await backend.start(made.id)
    finally:
        await backend.remove(made.id)
    return len(proxy.calls("^HEAD .*/archive")) - before


async def test_an_image_is_asked_once_for_a_program_and_each_container_with_files_of_its_own(
    proxy: EngineProxy, backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    assert await looks(backend, proxy, shop.plan("first")) > 0
    assert await looks(backend, proxy, shop.plan("second")) == 0
    with_volume = shop.plan("third", volumes=(Mount(str(tmp_path), "/data"),))
    assert await looks(backend, proxy, with_volume) > 0
    with_code = shop.plan("code", code_path=str(tmp_path), working_dir="/app")
    assert await looks(backend, proxy, with_code) > 0
    elsewhere = shop.plan("fourth", working_dir="/usr/bin")
    assert await looks(backend, proxy, elsewhere) == 0, "PATH does not depend on it"
    relative = shop.plan("fifth", "./python3", "-V", working_dir="/usr/bin")
    assert await looks(backend, proxy, relative) > 0


async def test_a_program_that_is_not_there_is_refused_each_time(
    proxy: EngineProxy, backend: DockerBackend, shop: Workshop
) -> None:
    await looks(backend, proxy, shop.plan("first"))
    for name in ("second", "third"):
        with pytest.raises(EngineError, match="no program 'nonsense'"):
            await looks(backend, proxy, shop.plan(name, "nonsense"))
