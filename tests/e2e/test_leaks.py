"""Two hundred lives leak nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from flow_manager_core import FlowManager, Settings

pytestmark = pytest.mark.anyio
LIVES = 200
AT_ONCE = 10


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fm-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def counts(folder: Path) -> dict[str, Any]:
    me = psutil.Process()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "children": len(me.children(recursive=True)),
        "sockets": sorted(p.name for p in (folder / "sockets").iterdir()),
        "containers": len(list((folder / "state" / "process").rglob("container.json"))),
    }


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_200_creates_messages_and_deletes_leave_nothing_behind(folder: Path) -> None:
    code = folder / "code"
    code.mkdir()
    shutil.copy(Path(__file__).parent / "flows" / "flow.py", code)
    settings = Settings(
        backend="process",
        socket_dir=folder / "sockets",
        state_dir=folder / "state",
        volume_roots=(folder,),
    )
    async with FlowManager(settings) as manager:

        async def live(number: int) -> None:
            async with manager.subscribe() as events:
                made = await manager.execute(
                    "create_container",
                    {
                        "image": "python",
                        "command": ["flow.py"],
                        "code_path": str(code),
                        "start": True,
                    },
                )
                key = made["container_id"]
                async for event in events:
                    if event.name == "socket_connected" and event.container_id.startswith(key):
                        break
            message = {"command": "echo", "data": number}
            payload = {"container_id": key, "message": message, "reply": True}
            answer = await manager.execute("send_message", payload)
            assert answer["reply"]["data"] == number
            await manager.execute("delete_container", {"container_id": key})

        async def lives(count: int) -> None:
            for start in range(0, count, AT_ONCE):
                async with anyio.create_task_group() as group:
                    for number in range(AT_ONCE):
                        group.start_soon(live, start + number)

        await lives(AT_ONCE)
        before = counts(folder)
        await lives(LIVES)
        with anyio.move_on_after(10):
            while not same(counts(folder), before):
                await anyio.sleep(0.05)
        assert same(counts(folder), before), (before, counts(folder))
        assert not list(manager._services.registry)  # type: ignore[union-attr]
        assert not manager._bus._subscriptions
        assert before["sockets"] == []
        assert before["containers"] == 0


def same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """No more than before, but for a few worker threads: a leak would be two hundred."""
    loose = {"descriptors": 0, "threads": 0}
    return (
        {**now, **loose} == {**before, **loose}
        and now["descriptors"] <= before["descriptors"]
        and now["threads"] <= before["threads"] + AT_ONCE
    )
