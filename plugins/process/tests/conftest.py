"""Fixtures: a process backend on a state folder of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.log import get_log
from flow_manager_core.models import Attachment, Container, ContainerSpec, CreatePlan
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_process.backend import ProcessBackend
from flow_manager_process.settings import ProcessSettings

PATIENCE = 15.0  # seconds that a condition may take to come true


class Flows:
    """Makes Python flows on a backend and waits for what they do."""

    def __init__(self, backend: ContainerBackend) -> None:
        self.backend = backend
        self._made = 0

    async def create(self, *command: str, image: str = "python", **spec: Any) -> str:
        self._made += 1
        made = ContainerSpec(**{"image": image, "name": f"f{self._made}", **spec}, command=command)
        plan = CreatePlan(spec=made, labels={}, attachment=Attachment({}))
        return (await self.backend.create(plan)).id

    async def start(self, code: str, *args: str, **spec: Any) -> str:
        made = await self.create("-c", code, *args, **spec)
        await self.backend.start(made)
        return made

    async def lines(self, made: str) -> list[str]:
        return [e.line for e in await self.backend.logs(made, tail=None, since=None)]

    async def said(self, made: str, count: int = 1) -> list[str]:
        """Wait until the flow has printed so many lines."""
        with anyio.fail_after(PATIENCE):
            while len(lines := await self.lines(made)) < count:
                await anyio.sleep(0.02)
        return lines

    async def ended(self, made: str) -> Container:
        with anyio.fail_after(PATIENCE):
            while not (seen := await self.backend.inspect(made)).state.ended:
                await anyio.sleep(0.02)
        return seen

    async def output(self, made: str) -> list[str]:
        await self.ended(made)
        return await self.lines(made)

    async def gone(self, pid: int) -> None:
        """Wait until a process is there no more; init may be slow to reap it."""
        with anyio.fail_after(PATIENCE):
            while _alive(pid):
                await anyio.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


Opener = Callable[..., AbstractAsyncContextManager[ContainerBackend]]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def open_backend(state_dir: Path) -> AsyncIterator[Opener]:
    """Opens a life of the backend; all lives of one test share the state folder.

    What they leave is removed at the end, whatever came of the test.
    """
    used = set()

    def opener(
        settings: ProcessSettings | None = None, instance: str = "default", **more: Any
    ) -> AbstractAsyncContextManager[ContainerBackend]:
        used.add(instance)
        core = Settings(state_dir=state_dir, instance=instance, **more)
        log = get_log("backend.process")
        return ProcessBackend.open(
            ProviderContext(settings=settings or ProcessSettings(), core=core, log=log)
        )

    yield opener
    for instance in sorted(used):
        async with opener(instance=instance) as backend:
            for left in await backend.list():
                await backend.remove(left.id)


@pytest.fixture
async def process_backend(open_backend: Opener) -> AsyncIterator[ContainerBackend]:
    async with open_backend() as backend:
        yield backend


@pytest.fixture
def flows(process_backend: ContainerBackend) -> Flows:
    return Flows(process_backend)


@pytest.fixture
def flows_on() -> type[Flows]:
    """For tests that open backends themselves."""
    return Flows
