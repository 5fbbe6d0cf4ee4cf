"""Fixtures: a process backend on a state folder of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.log import get_log
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_process.backend import ProcessBackend
from flow_manager_process.settings import ProcessSettings

Opener = Callable[..., AbstractAsyncContextManager[ContainerBackend]]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def open_backend(state_dir: Path) -> Opener:
    """Opens a life of the backend; all lives of one test share the state folder."""

    def opener(
        settings: ProcessSettings | None = None, instance: str = "default"
    ) -> AbstractAsyncContextManager[ContainerBackend]:
        core = Settings(state_dir=state_dir, instance=instance)
        log = get_log("backend.process")
        return ProcessBackend.open(
            ProviderContext(settings=settings or ProcessSettings(), core=core, log=log)
        )

    return opener


@pytest.fixture
async def process_backend(open_backend: Opener) -> AsyncIterator[ContainerBackend]:
    async with open_backend() as backend:
        try:
            yield backend
        finally:
            with anyio.CancelScope(shield=True):
                for left in await backend.list():
                    await backend.remove(left.id)
