"""What the watch costs: the manager's processor time, and a status beside the engine's inspect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.alone]
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "watch_cost.py"
#: Fewer than the hundred that are meant, to which the benchmark scales: what does not depend on
#: their number is scaled as well, so that this errs on the strict side.
CONTAINERS = 30


def test_watching_100_containers_is_below_1_percent_of_a_core_and_a_status_within_3_inspects(
    docker_engine: Any, busybox_image: str
) -> None:
    asked = [f"--containers={CONTAINERS}", "--blocks=1", "--rounds=7", "--json"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *asked],
        env={**os.environ, "DOCKER_HOST": docker_engine.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {figures["name"]: figures for figures in json.loads(done.stdout)}
    assert found["status : bare inspect"]["count"] == 7
    assert found["status : bare inspect"]["median"] < 3
    assert found["monitoring of 100, a round in 10 s"]["median"] < 1
