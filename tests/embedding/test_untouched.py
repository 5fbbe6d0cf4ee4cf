"""A host finds its process as it left it: nothing global is touched, and nothing is left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_socketio import MountedSocketIO
from tests.embedding.guest import served, visiting
from tests.embedding.host import TOKEN
from tests.support.leaks import Census, assert_settles

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "untouched.py"
TIMES = 20


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """Plugins are imported once, and not by the first test in its event loop."""
    PluginHost()


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fm-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_import_and_use_leave_everything_global_as_it_was(loop: str, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", PROGRAM, loop, home],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def managed(home: Path, *frontends: Any) -> FlowManager:
    settings = Settings(
        instance=home.name,
        backend="process",
        token=TOKEN,
        socket_dir=home / "sockets",
        state_dir=home / "state",
        volume_roots=(home,),
    )
    return FlowManager(settings, frontends=frontends)


async def lived(manager: FlowManager) -> None:
    """One life of a manager in which a program runs."""
    async with manager:
        command = ["-c", "import time; time.sleep(60)"]
        made = await manager.execute(
            "create_container", {"image": "python", "command": command, "start": True}
        )
        await manager.execute("delete_container", {"container_id": made["container_id"]})


@pytest.mark.anyio
async def test_manager_entered_twenty_times_leaves_nothing_behind(home: Path) -> None:
    again = managed(home)
    await lived(again)
    before = await settled_census()
    tasks = len(anyio.get_running_tasks())
    for number in range(TIMES):
        await lived(again if number % 2 else managed(home))
    await anyio.to_thread.run_sync(assert_settles, before)
    assert len(anyio.get_running_tasks()) == tasks


async def settled_census() -> Census:
    """What a first life has left on purpose: caches, pools of threads."""
    return await anyio.to_thread.run_sync(Census.take)


@asynccontextmanager
async def two_with_clients(home: Path) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for name in ("blue", "green"):
            flows = MountedSocketIO()
            await stack.enter_async_context(managed(home / name, flows.provider))
            url = await stack.enter_async_context(served(flows, timeout_graceful_shutdown=1))
            await stack.enter_async_context(visiting(url, ""))
        yield


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_two_managers_with_clients_leave_nothing_behind(home: Path) -> None:
    async with two_with_clients(home):
        pass
    before = await settled_census()
    tasks = len(anyio.get_running_tasks())
    for _ in range(TIMES // 4):
        async with two_with_clients(home):
            pass
    await anyio.to_thread.run_sync(assert_settles, before)
    assert len(anyio.get_running_tasks()) == tasks
