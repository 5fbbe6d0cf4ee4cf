"""What the watch costs: the manager's processor time, and a status beside the engine's `inspect`."""

from __future__ import annotations

import statistics
from typing import Any

import anyio
import pytest

from benchmarks.watch_cost import measure

pytestmark = [pytest.mark.docker, pytest.mark.alone]

#: Fewer than the hundred that are meant, to which the benchmark scales: what does not depend on
#: their number is scaled as well, so that this errs on the strict side.
CONTAINERS = 30


def test_watching_100_containers_is_below_1_percent_of_a_core_and_a_status_within_3_inspects(
    docker_engine: Any, busybox_image: str
) -> None:
    async def run() -> Any:
        return await measure(docker_engine.url, containers=CONTAINERS, blocks=1, rounds=7)

    costs = anyio.run(run)
    assert statistics.median(costs.shares) < 1
    assert statistics.median(costs.ratios) < 3
