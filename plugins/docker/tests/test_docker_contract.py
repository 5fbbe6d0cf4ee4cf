"""The Docker backend keeps the contract that every backend keeps."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.testing.backend_suite import BackendSuite
from flow_manager_docker.plugin import PROVIDER


@pytest.mark.docker
class TestDockerBackend(BackendSuite):
    """The shared suite, on a real engine."""

    provider = PROVIDER

    @pytest.fixture(autouse=True)
    def _engine(self, docker_env: Any, flow_image: str) -> None:
        type(self).image = flow_image

    async def _live(self, backend: ContainerBackend) -> str:
        # The suite's plans bear the first instance's label, by which this backend goes.
        ours, self.core = self.core, evolve(self.core, instance=f"{self.core.instance}-other")
        try:
            return await super()._live(backend)
        finally:
            self.core = ours
