"""What every test of the repository can use: both event loops, the loop watch, real engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SUPPORT = (
    "tests.support.loop_watch",
    "tests.support.leaks",
    "tests.support.engine",
    "tests.node.node_fixture",
)

_ROOT = Path(__file__).parent
pytest_plugins = [
    "pytester",
    *(name for name in SUPPORT if (_ROOT / name.replace(".", "/")).with_suffix(".py").exists()),
]


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest, watched: Callable[[str], Any]) -> Any:
    """Both event loops (`anyio_backend_name` gives the plain name)."""
    return watched(request.param)
