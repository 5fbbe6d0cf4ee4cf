"""The example of a third-party plugin keeps its contract, on a real engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flow_engine_cli.plugin import PROVIDER
from flow_engine_cli.settings import CliSettings

from examples.cli_backend.tests.test_contract import TestCliBackend
from flow_manager_core.errors import EngineUnavailable
from flow_manager_core.log import get_log
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings


@pytest.mark.docker
class TestExampleOnDocker(TestCliBackend):
    """The example's own tests, with the engine and the image of this test run."""

    @pytest.fixture(autouse=True)
    def _engine(self, docker_env: Any, flow_image: str) -> None:
        type(self).image = flow_image


del TestCliBackend  # its own engine is the reader's


@pytest.mark.anyio
async def test_an_engine_whose_program_is_not_there_is_named(tmp_path: Path) -> None:
    context = ProviderContext(
        settings=CliSettings(program=("no-such-engine",)),
        core=Settings(state_dir=tmp_path),
        log=get_log("engine_cli"),
    )
    async with PROVIDER.factory(context) as backend:
        with pytest.raises(EngineUnavailable, match="no-such-engine"):
            await backend.ping()
        with pytest.raises(EngineUnavailable, match="no-such-engine"):
            async with backend.watch():
                pass
