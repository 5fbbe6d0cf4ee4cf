"""The Docker backend keeps the contract that every backend keeps."""

from __future__ import annotations

from typing import Any

import pytest

from flow_manager_core.testing.backend_suite import BackendSuite
from flow_manager_docker.plugin import PROVIDER


@pytest.mark.docker
class TestDockerBackend(BackendSuite):
    """The shared suite, on a real engine."""

    provider = PROVIDER

    @pytest.fixture(autouse=True)
    def _engine(self, docker_env: Any, flow_image: str) -> None:
        type(self).image = flow_image
