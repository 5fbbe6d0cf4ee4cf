"""The wheels, built once, and environments made of them, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.packaging.environments import Environment, build_wheels


@pytest.fixture(scope="session")
def wheel_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of every distribution, by its name."""
    return build_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def install(
    wheel_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Environment]:
    """Make a clean environment with the distributions named."""

    @cache
    def install(*names: str) -> Environment:
        return Environment.make(tmp_path_factory.mktemp("e"), [wheel_files[n] for n in names])

    return install
