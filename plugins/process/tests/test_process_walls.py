"""The backend has no walls, and says so to whoever opens the manager to other hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_manager_core.log import get_log
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_process.backend import ProcessBackend
from flow_manager_process.settings import ProcessSettings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
async def test_a_manager_that_other_hosts_reach_is_told_that_there_are_no_walls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str, warned: bool
) -> None:
    core = Settings(state_dir=tmp_path, host=host)
    context = ProviderContext(settings=ProcessSettings(), core=core, log=get_log("backend.process"))
    async with ProcessBackend.open(context):
        pass
    assert ("has no walls" in caplog.text) is warned


def test_the_readme_says_so_first() -> None:
    page = Path(__file__).parents[1] / "README.md"
    assert "There are no walls here" in page.read_text().partition("## ")[0]
