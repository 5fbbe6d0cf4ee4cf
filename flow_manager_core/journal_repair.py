"""A journal's file from outside: whether it is sound, what can be saved of it. All of it blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree

from attrs import frozen

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.instance_folder import instance_folder
from flow_manager_core.journal_rows import amiss
from flow_manager_core.journals import Table
from flow_manager_core.models import Fault
from flow_manager_core.past import EPOCH
from flow_manager_core.settings import Settings
from flow_manager_core.sqlite.file import (
    FORMER,
    MIGRATIONS,
    NAME,
    UNREADABLE,
    LaterVersion,
    check,
    look_at,
    look_at_former,
    open_file,
    transaction,
    version_of,
)

#: Where a new file is made before it takes its place.
NEW = "journal-rebuilt"
#: Findings that are told of one file.
MOST = 20
#: Rows that are saved at once.
STEP = 200


@frozen
class Rebuilt:
    """What became of a damaged file.

    Args:
        aside: where it stands now.
        saved: entries that could be read, by table.
    """

    aside: Path
    saved: Mapping[str, int]


def faults_of_journal(folder: Path) -> list[str]:
    """Say what is wrong with an instance's journal; nothing: it is sound, or there is none yet."""
    path, former = folder / NAME, folder / FORMER
    if not path.exists():
        return _faults(former, lambda: look_at_former(former)) if former.exists() else []
    found: list[str] = []

    def look() -> None:
        with closing(look_at(path)) as base:
            check(base, len(MIGRATIONS))
            rows = base.execute(f"PRAGMA integrity_check({MOST})").fetchall()
            found.extend(f"{path}: {told}" for (told,) in rows if told != "ok")
            found.extend(f"{path}: {told}" for told in _unsound(base))

    return _faults(path, look) or found[:MOST]


def rebuild_journal(settings: Settings) -> Rebuilt | None:
    """Move a damaged file aside, and begin a new one with what can be read of it.

    Returns:
        ``None`` where nothing is damaged.

    Raises:
        ConfigurationError: a manager has it, it is of a later version, or the disk refuses.
    """
    with instance_folder(settings) as folder:
        try:
            return _rebuilt(folder)
        except (LaterVersion, OSError, sqlite3.Error) as error:
            told = f"the journal in {folder} cannot be rebuilt: {error}"
            raise ConfigurationError([Fault("state_dir", told)]) from error


def _rebuilt(folder: Path) -> Rebuilt | None:
    if not faults_of_journal(folder):
        return None
    path = folder / NAME if (folder / NAME).exists() else folder / FORMER
    _refuse_later(path)
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    fresh = folder / NEW
    rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    with closing(open_file(fresh)) as base:
        saved = _saved(path, base) if path.name == NAME else {}
    for end in ("", "-wal", "-shm"):
        if (part := path.with_name(path.name + end)).exists():
            part.rename(aside.with_name(aside.name + end))
    (fresh / NAME).rename(folder / NAME)
    fresh.rmdir()
    return Rebuilt(aside, saved)


def _refuse_later(path: Path) -> None:
    try:
        with closing(look_at(path)) as base:
            version = version_of(base)
    except UNREADABLE:
        return
    if version > len(MIGRATIONS):
        raise LaterVersion(f"it was written by a later version ({version})")


def _saved(path: Path, base: sqlite3.Connection) -> dict[str, int]:
    saved: dict[str, int] = {}
    for table in Table:
        with closing(look_at(path)) as damaged, transaction(base):
            rows = [row for row in _readable(damaged, table) if _is_sound(table, *row)]
            base.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", rows)  # noqa: S608
        saved[str(table)] = len(rows)
    return saved


def _readable(base: sqlite3.Connection, table: Table) -> Iterator[tuple[str, bytes]]:
    """All rows up to the first that cannot be read, from either end."""
    seen = ""
    for order in ("ASC", "DESC"):
        query = f"SELECT key, value FROM {table} ORDER BY key {order}"  # noqa: S608
        try:
            for key, value in base.execute(query):
                if order == "DESC" and key <= seen:
                    return
                seen = key if order == "ASC" else seen
                yield key, value
            return
        except (sqlite3.Error, UnicodeError):
            continue


def _is_sound(table: Table, key: object, value: object) -> bool:
    """Whether it can be saved; the name of the damaged journal is not for the new one."""
    if not isinstance(key, str) or not isinstance(value, bytes):
        return False
    return (table, key) != (Table.FACTS, EPOCH) and not amiss(table, key, value)


def _unsound(base: sqlite3.Connection) -> Iterator[str]:
    if not version_of(base):
        return
    for table in Table:
        for key, value in base.execute(f"SELECT key, value FROM {table}"):  # noqa: S608
            if told := amiss(table, key, value):
                yield f"{table} {key!r}: {told}"


def _faults(path: Path, look: Callable[[], object]) -> list[str]:
    try:
        look()
    except UNREADABLE as error:
        return [f"{path}: {error}"]
    return []
