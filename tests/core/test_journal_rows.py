"""A journal whose rows are damaged is refused by name, and changed by nobody."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flow_manager_core.errors import ConfigurationError
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
