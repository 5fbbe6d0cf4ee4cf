"""The example of a third-party plugin keeps its contract, on a real engine."""

from __future__ import annotations

from typing import Any

import pytest

from examples.cli_backend.tests.test_contract import TestCliBackend


@pytest.mark.docker
class TestExampleOnDocker(TestCliBackend):
    """The example's own tests, with the engine and the image of this test run."""

    @pytest.fixture(autouse=True)
    def _engine(self, docker_env: Any, flow_image: str) -> None:
        type(self).image = flow_image


del TestCliBackend  # its own engine is the reader's
