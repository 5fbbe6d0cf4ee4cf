"""What every test of the repository can use: both event loops, the loop watch, real engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest_plugins = [
    "pytester",
    "tests.support.loop_watch",
    "tests.support.leaks",
    "tests.support.stalls",
    "tests.support.distributions",
    "tests.support.engine",
    "tests.support.podman",
    "tests.support.programs",
    "tests.support.plain_reports",
    "tests.support.workers",
    "tests.support.units",
    "tests.support.rabbitmq",
    "tests.support.restartable_engine",
    "tests.node.node_fixture",
]


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest, watched: Callable[[str], Any]) -> Any:
    """Both event loops (`anyio_backend_name` gives the plain name)."""
    return watched(request.param)
