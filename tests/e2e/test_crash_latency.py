"""A crash reaches clients soon after the engine noticed it, and flows find a new manager soon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.alone]
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "crash_latency.py"


def test_a_crash_is_told_within_100_ms_and_flows_answer_within_2_s_of_a_kill(
    docker_engine: Any, flow_image: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--rounds=1", "--crashes=7", "--json", "--image", flow_image],
        env={**os.environ, "DOCKER_HOST": docker_engine.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {figures["name"]: figures for figures in json.loads(done.stdout)}
    assert found["die -> client told"]["count"] == 7
    assert found["die -> client told"]["median"] < 100
    assert found["restart: listening -> first flow answers"]["median"] < 2
