"""What a create costs beside the engine's own time, measured in the same run."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from anyio import to_thread

from flow_manager_core import FlowManager, Settings

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.alone]

ROUNDS = 15
#: Milliseconds that the manager may add at the median: its channel's folder and socket on the
#: disk, a look at the container's labels, and three hops between threads.
ADDED = 15.0


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fm-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


async def test_a_create_adds_a_few_milliseconds_to_the_engine_s_own_time(
    docker_engine: Any,
    flow_image: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.url)
    engine = docker.APIClient(base_url=docker_engine.url, version="auto")
    settings = Settings(
        backend="docker",
        instance=home.name,
        socket_dir=home / "sockets",
        state_dir=home / "state",
        reconcile_interval=3600,
    )
    bare: list[float] = []
    ours: list[float] = []

    def create_bare() -> None:
        began = time.perf_counter()
        made = engine.create_container(flow_image, ["python3", "-V"])
        bare.append(time.perf_counter() - began)
        engine.remove_container(made["Id"])

    try:
        async with FlowManager(settings) as manager:
            for _ in range(ROUNDS):
                await to_thread.run_sync(create_bare)
                began = time.perf_counter()
                made = await manager.execute(
                    "create_container", {"image": flow_image, "command": ["python3", "-V"]}
                )
                ours.append(time.perf_counter() - began)
                await manager.execute("delete_container", {"container_id": made["container_id"]})
    finally:
        engine.close()
    ratio = statistics.median(ours) / statistics.median(bare)
    added = (statistics.median(ours) - statistics.median(bare)) * 1000
    told = f"create: {ratio:.2f} of docker-py's time, {added:.1f} ms more (medians of {ROUNDS})"
    record_property("create", told)
    print(told)
    assert added < ADDED, told
