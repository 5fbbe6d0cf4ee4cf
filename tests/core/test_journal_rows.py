"""A journal whose rows are damaged is refused by name, and changed by nobody."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from flow_manager_core.errors import ConfigurationError, SystemFault
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine
from flow_manager_core.testing.memory_transport import MemoryNetwork
from tests.core.test_manager import House

pytestmark = pytest.mark.anyio


async def live(folder: Path) -> None:
    """Let a manager live for a moment."""
    async with MemoryEngine(SCRIPTED).opened() as engine:
        async with House(engine, MemoryNetwork(), journal="sqlite", state_dir=folder).manager:
            pass


@pytest.mark.parametrize(
    "row",
    [
        ("containers", "1", b"{"),
        ("operations", "r", b'"state":"running"'),
        ("outbox", "0000000000000000001", b"[]\n{}"),
        ("outbox", "one", b"{}\n{}"),
        ("inbox", "c/s", b"\xff"),
        ("settled", "d0000000000000000001", b"1"),
    ],
    ids=lambda row: f"{row[0]} {row[1]}",
)
async def test_a_start_is_refused_for_an_entry_that_is_none_of_ours(
    tmp_path: Path, row: tuple[str, str, bytes]
) -> None:
    await live(tmp_path)
    path = tmp_path / "instances" / "default" / "journal.sqlite"
    table, *values = row
    with closing(sqlite3.connect(path)) as base:
        base.execute(f"INSERT INTO {table} VALUES (?, ?)", values)
        base.commit()
    with pytest.raises(ConfigurationError, match="flow-manager journal check"):
        await live(tmp_path)
    with closing(sqlite3.connect(path)) as base:
        (kept,) = base.execute(f"SELECT value FROM {table} WHERE key = ?", values[:1])
    assert kept == (row[2],)


@pytest.mark.parametrize(
    "damage",
    [
        "x'ff'",
        """CAST(replace(CAST(value AS TEXT), '"body":{', '"body":[') AS BLOB)""",
    ],
    ids=["all of it", "the bodies"],
)
async def test_a_manager_lives_with_events_that_it_cannot_read(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        settings = {"journal": "sqlite", "state_dir": tmp_path}
        async with House(engine, MemoryNetwork(), **settings).manager as manager:
            await manager.execute("create_container", {"image": "memory", "name": "one"})
            await manager.execute("start_container", {"container_id": "one"})
        with closing(sqlite3.connect(tmp_path / "instances/default/journal.sqlite")) as base:
            base.execute(f"UPDATE events SET value = {damage}")
            base.commit()
        async with House(engine, MemoryNetwork(), **settings).manager as manager:
            told = ""
            try:
                await manager.execute("get_activity_log", {})
            except SystemFault as error:
                told = error.message
            with anyio.fail_after(10):
                while "The log of events is damaged" not in told + caplog.text:
                    await anyio.sleep(0.01)
            await manager.execute("delete_container", {"container_id": "one"})
