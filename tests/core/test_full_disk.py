"""A manager whose disk is full: nothing is acknowledged that is not kept, and it ends by itself."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from flow_manager_core.errors import SystemFault
from flow_manager_core.event_log import events_of
from flow_manager_core.journal import writer
from flow_manager_core.journals import Table
from flow_manager_core.sqlite.file import look_back
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine
from flow_manager_core.testing.memory_transport import MemoryNetwork
from tests.core.test_manager import House, hold, house
from tests.support.disks import fill_up, small_disk_at

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PROBE", 0.05)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "small", 4) as folder:
        yield folder


@pytest.fixture
async def engine() -> AsyncIterator[MemoryEngine]:
    async with anyio.create_task_group() as group:
        yield await group.start(hold, SCRIPTED)
        group.cancel_scope.cancel()


@asynccontextmanager
async def life(engine: MemoryEngine, disk: Path) -> AsyncIterator[House]:
    async with house(engine, MemoryNetwork(), journal="sqlite", state_dir=disk) as found:
        yield found


async def refused(h: House) -> SystemFault:
    """Ask for containers until the disk refuses one; what was refused is not there."""
    with anyio.fail_after(20):
        for number in NUMBERS:
            try:
                await h.create("run", name=f"more-{number}")
            except SystemFault as error:
                names = {c["name"] for c in (await h.ask("list_containers"))["containers"]}
                assert f"more-{number}" not in names
                return error
    raise AssertionError("unreachable")


async def refused_for_good(h: House) -> SystemFault:
    """As `refused`, until there is not even room for what is smaller."""
    with anyio.fail_after(20):
        while True:
            error = await refused(h)
            if (await h.manager.health())["status"] == "degraded":
                return error


#: Names of containers are not given twice.
NUMBERS = itertools.count()


def journal_refuses(h: House) -> bool:
    return "flow_manager_journal_refuses 1.0" in h.manager.metrics()[0].decode()


async def test_what_changes_something_is_refused_and_what_ends_something_is_not(
    engine: MemoryEngine, disk: Path
) -> None:
    async with life(engine, disk) as h:
        running = [await h.create("run", name=f"first-{n}") for n in range(3)]
        fill_up(disk)
        error = await refused_for_good(h)
        assert error.error_type == "system_error"
        assert error.retryable
        assert "full" in error.message or "No space" in error.message
        health = await h.manager.health()
        assert health["components"]["journal"]["status"] == "unhealthy"
        assert journal_refuses(h)
        await h.ask("stop_container", container_id=running[0])
        await h.ask("delete_container", container_id=running[1])
        for one in (await h.ask("list_containers"))["containers"]:
            if one["name"].startswith("more-"):
                await h.ask("delete_container", container_id=one["id"])
    async with life(engine, disk) as h:
        found = (await h.ask("list_containers"))["containers"]
        assert {c["name"]: c["status"] for c in found} == {
            "first-0": "stopped",
            "first-2": "running",
        }


async def test_service_resumes_by_itself_and_the_log_says_what_is_missing(
    engine: MemoryEngine, disk: Path
) -> None:
    async with life(engine, disk) as h:
        key = await h.create("run")
        ballast = fill_up(disk)
        await refused_for_good(h)
        await h.ask("stop_container", container_id=key)
        ballast.unlink()
        await h.until_health("healthy")
        await h.create("run", name="after")
        await h.until(lambda: h.told[-1].seq == h.manager._services.journal.last)  # type: ignore[union-attr]
        gaps = [h.manager.event_body(event) for event in h.told if event.name == "gap"]
        unkept = [event for event in h.told if event.kept and not event.seq]
        assert sum(gap["count"] for gap in gaps) == len(unkept) > 0
        assert all("full" in gap["reason"] or "No space" in gap["reason"] for gap in gaps)
        numbers = [event.seq for event in h.told if event.seq]
        journal = h.manager._services.journal.journal  # type: ignore[union-attr]
        pages = await journal.read(Table.EVENTS, limit=100_000)
        logged = [event.seq for _, page in pages for event in events_of(page)]
        assert logged == numbers
    folder = disk / "instances" / "default"
    assert "after" in {desired.name for desired in look_back(folder).desired.values()}


async def test_a_manager_starts_on_a_full_disk_to_stop_and_delete(
    engine: MemoryEngine, disk: Path
) -> None:
    async with life(engine, disk) as h:
        await h.create("run", name="one")
    fill_up(disk)
    async with life(engine, disk) as h:
        await h.ask("delete_container", container_id="one")
        await refused(h)
