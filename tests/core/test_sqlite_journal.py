"""The journal in a file: taken over, damaged, of a later version, on a disk that fails."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from flow_manager_core.desired import Desired, Wish
from flow_manager_core.errors import ConfigurationError, SystemFault
from flow_manager_core.journals import Drop, JournalHangs, Put, Table
from flow_manager_core.past import read_past
from flow_manager_core.sqlite.file import MIGRATIONS, PAGE, look_back
from flow_manager_core.sqlite.journal import SqliteJournal
from flow_manager_core.sqlite.reserve import RESERVE
from tests.support.disks import frozen_disk_at, halted, small_disk_at

pytestmark = pytest.mark.anyio

ONE = Desired(key="1", name="one", container_id="0123456789abcdef", wish=Wish.UP)
FORMER = """
CREATE TABLE containers (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version=1;
"""


def leave_records(folder: Path) -> Path:
    """Leave the file that there was before there was a journal."""
    path = folder / "records.sqlite"
    with closing(sqlite3.connect(path)) as base:
        base.executescript(f"PRAGMA journal_mode=WAL; {FORMER}")
        base.execute("INSERT INTO containers VALUES (?, ?)", ("1", json.dumps(ONE.to_json())))
        base.execute("INSERT INTO facts VALUES ('engine_life', 'boot-1')")
        base.commit()
    return path


async def test_the_records_of_an_earlier_version_are_taken_over_once(tmp_path: Path) -> None:
    path = leave_records(tmp_path)
    before = path.read_bytes()
    assert look_back(tmp_path).desired == {"1": ONE}
    async with SqliteJournal.open(tmp_path) as journal:
        past = await read_past(journal)
        assert past.desired == {"1": ONE}
        assert past.facts == {"engine_life": "boot-1"}
        await journal.commit([Drop(Table.CONTAINERS, "1")])
    assert not path.exists()
    assert (tmp_path / "records.sqlite.taken-over").read_bytes() == before
    async with SqliteJournal.open(tmp_path) as journal:
        assert (await read_past(journal)).desired == {}


async def test_a_takeover_that_was_cut_off_before_the_rename_is_not_made_again(
    tmp_path: Path,
) -> None:
    path = leave_records(tmp_path)
    async with SqliteJournal.open(tmp_path) as journal:
        await journal.commit([Drop(Table.CONTAINERS, "1")])
    (tmp_path / "records.sqlite.taken-over").rename(path)
    async with SqliteJournal.open(tmp_path) as journal:
        assert (await read_past(journal)).desired == {}


async def test_records_that_cannot_be_read_are_kept_and_refuse_the_takeover(
    tmp_path: Path,
) -> None:
    path = tmp_path / "records.sqlite"
    path.write_bytes(b"not a database" * 1000)
    for _again in range(2):
        with pytest.raises(ConfigurationError, match=r"records\.sqlite"):
            async with SqliteJournal.open(tmp_path):
                pass
    assert path.read_bytes() == b"not a database" * 1000


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def copy_of(folder: Path) -> Path:
    """The files as a kill would leave them now."""
    copy = folder / "copy"
    copy.mkdir()
    for path in folder.glob("journal.sqlite*"):
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with SqliteJournal.open(tmp_path) as journal:
        await journal.commit([Put(Table.FACTS, "a", b"secret")])
        modes = modes_in(tmp_path)
    assert set(modes) == {"journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm", "reserve"}
    assert set(modes.values()) == {0o600}


async def test_a_commit_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    async with SqliteJournal.open(tmp_path) as journal:
        await journal.commit([Put(Table.FACTS, "a", b"1")])
        copy = copy_of(tmp_path)
    assert look_back(copy).facts == {"a": "1"}


async def test_a_file_of_a_later_version_is_refused_by_name_and_left_as_it_is(
    tmp_path: Path,
) -> None:
    async with SqliteJournal.open(tmp_path):
        pass
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as base:
        base.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="later version"):
        async with SqliteJournal.open(tmp_path):
            pass
    assert path.read_bytes() == before


async def test_damage_in_the_middle_is_found_at_the_start_and_left_as_it_is(tmp_path: Path) -> None:
    async with SqliteJournal.open(tmp_path) as journal:
        await journal.commit([Put(Table.EVENTS, str(n), b"x" * 500) for n in range(100, 900)])
    path = tmp_path / "journal.sqlite"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // PAGE * PAGE
    content[middle : middle + PAGE] = b"\xa5" * PAGE
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="journal rebuild"):
        async with SqliteJournal.open(tmp_path):
            pass
    assert path.read_bytes() == content


async def test_somebody_who_reads_beside_does_not_hold_a_commit_up(tmp_path: Path) -> None:
    async with SqliteJournal.open(tmp_path) as journal:
        await journal.commit([Put(Table.FACTS, "a", b"1")])
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as other:
            other.execute("BEGIN")
            assert other.execute("SELECT count(*) FROM facts").fetchone() == (1,)
            with anyio.fail_after(3):
                await journal.commit([Put(Table.FACTS, "b", b"1")])


async def test_a_key_that_is_no_text_is_refused_and_what_follows_is_kept(tmp_path: Path) -> None:
    async with SqliteJournal.open(tmp_path) as journal:
        with pytest.raises(SystemFault):
            await journal.commit([Put(Table.FACTS, "a", b"1"), Put(Table.FACTS, "\ud800", b"1")])
        await journal.commit([Put(Table.FACTS, "b", b"1")])
        assert dict(await journal.read(Table.FACTS)) == {"b": b"1"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "small", 3) as folder:
        yield folder


async def fill(journal: SqliteJournal) -> None:
    """Write until the disk is full."""
    number = 0
    with pytest.raises(SystemFault, match=r"full|No space") as refused:
        while True:
            await journal.commit([Put(Table.FACTS, f"filler-{number:04d}", b"x" * 20_000)])
            number += 1
    assert refused.value.retryable


async def test_a_full_disk_has_room_for_what_ends_something(small_disk: Path) -> None:
    async with SqliteJournal.open(small_disk) as journal:
        await journal.commit([Put(Table.CONTAINERS, str(n), b"x" * 500) for n in range(100)])
        await fill(journal)
        for number in range(30):
            await journal.commit([Drop(Table.CONTAINERS, str(number))], urgent=True)
        with pytest.raises(SystemFault):  # what is left is not for this
            await journal.commit([Put(Table.FACTS, "more", b"x")])
        assert len(await journal.read(Table.CONTAINERS)) == 70
    async with SqliteJournal.open(small_disk) as journal:
        assert len(await journal.read(Table.CONTAINERS)) == 70


async def test_it_keeps_again_as_soon_as_there_is_room_and_sets_some_aside(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_000_000)
    async with SqliteJournal.open(small_disk) as journal:
        await journal.commit([Put(Table.CONTAINERS, "1", b"x")])
        await fill(journal)
        await journal.commit([Drop(Table.CONTAINERS, "1")], urgent=True)
        ballast.unlink()
        await journal.commit([Drop(Table.FACTS, f"filler-{n:04d}") for n in range(40)], urgent=True)
        await journal.commit([Put(Table.CONTAINERS, "2", b"x")])
        assert (small_disk / "reserve").stat().st_size == RESERVE
        assert dict(await journal.read(Table.CONTAINERS)) == {"2": b"x"}


@pytest.fixture
def frozen_disk(tmp_path: Path) -> Iterator[Path]:
    with frozen_disk_at(tmp_path / "frozen") as folder:
        yield folder


async def test_a_disk_that_hangs_is_given_up_by_name_and_used_again_once_it_answers(
    frozen_disk: Path,
) -> None:
    async with SqliteJournal.open(frozen_disk, deadline=0.3) as journal:
        await journal.commit([Put(Table.FACTS, "a", b"1")])
        with halted(frozen_disk):
            with pytest.raises(JournalHangs, match="did not answer within"), anyio.fail_after(5):
                await journal.commit([Put(Table.FACTS, "b", b"1")])
            with pytest.raises(SystemFault, match="does not answer"), anyio.fail_after(0.2):
                await journal.commit([Put(Table.FACTS, "c", b"1")])
        with anyio.fail_after(5):
            while True:
                try:
                    await journal.commit([Put(Table.FACTS, "d", b"1")])
                    break
                except SystemFault:
                    await anyio.sleep(0.01)
        assert set(await journal.get(Table.FACTS, ["a", "b", "c", "d"])) >= {"a", "d"}
        assert await journal.get(Table.FACTS, ["c"]) == {}


async def test_who_is_cancelled_while_it_is_opened_leaves_nothing_open(frozen_disk: Path) -> None:
    async with SqliteJournal.open(frozen_disk):
        pass
    with halted(frozen_disk), anyio.CancelScope() as opening:
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_once_open, frozen_disk, opening)
            async with SqliteJournal.open(frozen_disk):
                raise AssertionError("opened on a disk that does not answer")
    assert opening.cancelled_caught
    with anyio.fail_after(10):
        while open_files(frozen_disk):
            await anyio.sleep(0.01)


async def cancel_once_open(folder: Path, scope: anyio.CancelScope) -> None:
    while not open_files(folder):
        await anyio.sleep(0.001)
    scope.cancel()


def open_files(folder: Path) -> list[str]:
    """Which files in a folder this process has open."""
    names = (os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return [name for name in names if name.startswith(str(folder))]
