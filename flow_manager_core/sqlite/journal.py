"""The journal in a file: SQLite with a write-ahead log, each commit on disk before it is told."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import anyio

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.findings import in_thread
from flow_manager_core.journals import Change, Drop, DropThrough, Journal, Put, Table
from flow_manager_core.models import Fault
from flow_manager_core.sqlite.file import NAME, UNREADABLE, connect, open_file, transaction
from flow_manager_core.sqlite.handover import Handover
from flow_manager_core.sqlite.lane import Lane
from flow_manager_core.sqlite.reserve import NAME as RESERVED
from flow_manager_core.sqlite.reserve import Reserve

#: Seconds for one call of a disk. One that is merely slow, such as a disk that spins up or one of
#: a network, answers long before.
DEADLINE = 30.0
#: Seconds for the check of the whole file at the start.
CHECKING = 600.0
#: SQLite takes 32766 variables in a statement; see its limits.
MOST_KEYS = 500

_STATEMENTS: Mapping[type[Change], str] = {
    Put: "INSERT OR REPLACE INTO {} VALUES (?, ?)",
    Drop: "DELETE FROM {} WHERE key = ?",
    DropThrough: "DELETE FROM {} WHERE key <= ?",
}


class SqliteJournal(Journal):
    """A `Journal` in the folder of an instance. Reading does not hold up writing.

    Args:
        folder: the instance's, whose lock the caller holds.
        writing, reading: connections to its file.
        deadline: seconds for one call.
    """

    def __init__(
        self,
        folder: Path,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        deadline: float = DEADLINE,
    ) -> None:
        self._reserve = Reserve(folder / RESERVED, folder / f"{NAME}-wal")
        self._writing = Lane(writing, deadline)
        self._reading = Lane(reading, deadline)

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, deadline: float = DEADLINE) -> AsyncIterator[SqliteJournal]:
        """Open it for one life of the manager.

        Raises:
            ConfigurationError: the file cannot be read, or is of a later version; it is as it was.
        """
        handed = Handover(cls.close)
        try:
            with anyio.move_on_after(CHECKING):
                await in_thread(lambda: handed.give(cls._opened(folder, deadline)))
            if handed.thing is None:
                told = f"the journal in {folder} could not be opened within {CHECKING:g} s"
                raise ConfigurationError([Fault("state_dir", told)])
            yield handed.thing
        finally:
            with anyio.move_on_after(deadline, shield=True):
                await in_thread(handed.close)

    @classmethod
    def _opened(cls, folder: Path, deadline: float) -> SqliteJournal:
        try:
            with ExitStack() as failing:
                writing = _open(folder)
                failing.callback(writing.close)
                reading = connect(folder / NAME)
                failing.callback(reading.close)
                reading.execute("PRAGMA query_only=ON")
                journal = cls(folder, writing, reading, deadline)
                failing.pop_all()
        except UNREADABLE as error:
            told = (
                f"the journal in {folder / NAME} cannot be read ({error}). Nothing was changed:"
                " see flow-manager journal check; flow-manager journal rebuild moves the file away,"
                " keeps what can be read of it, and containers are found again by their labels"
            )
            raise ConfigurationError([Fault("state_dir", told)]) from error
        journal._reserve.set_aside(writing)
        return journal

    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        """See `Journal`; what is urgent may use the reserve of a full disk."""
        await self._writing.run(partial(self._commit, tuple(changes), urgent))

    def _commit(self, changes: Sequence[Change], urgent: bool, base: sqlite3.Connection) -> None:
        if not urgent:
            self._reserve.require(base)
        reserve = self._reserve
        ways = iter([reserve.made_room, reserve.spent] if urgent else [reserve.made_room])
        while True:
            try:
                _make(base, changes)
                return
            except sqlite3.OperationalError:
                if not any(way(base) for way in ways):
                    raise

    async def get(self, table: Table, keys: Collection[str]) -> Mapping[str, bytes]:
        """See `Journal`."""
        wanted = list(keys)

        def find(base: sqlite3.Connection) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for start in range(0, len(wanted), MOST_KEYS):
                some = wanted[start : start + MOST_KEYS]
                marks = ",".join("?" * len(some))
                rows = base.execute(f"SELECT key, value FROM {table} WHERE key IN ({marks})", some)  # noqa: S608
                found.update(rows)
            return found

        return await self._reading.run(find)

    async def read(
        self,
        table: Table,
        *,
        after: str = "",
        before: str | None = None,
        limit: int = 1000,
        newest_first: bool = False,
        holding: bytes = b"",
    ) -> Sequence[tuple[str, bytes]]:
        """See `Journal`."""
        terms: list[tuple[str, Any]] = [("key > ?", after)]
        if before is not None:
            terms.append(("key < ?", before))
        if holding:
            terms.append(("instr(value, ?)", holding))
        where = " AND ".join(term for term, _ in terms)
        order = "DESC" if newest_first else "ASC"
        query = f"SELECT key, value FROM {table} WHERE {where} ORDER BY key {order} LIMIT ?"  # noqa: S608
        given = [*(value for _, value in terms), limit]
        return await self._reading.run(lambda base: base.execute(query, given).fetchall())

    async def size(self, table: Table) -> int:
        """See `Journal`."""
        query = f"SELECT coalesce(sum(length(value)), 0) FROM {table}"  # noqa: S608
        return await self._reading.run(lambda base: int(base.execute(query).fetchone()[0]))

    def close(self) -> None:
        """Close the file. Blocking."""
        self._reading.close()
        self._writing.close()


def _open(folder: Path) -> sqlite3.Connection:
    try:
        return open_file(folder)
    except sqlite3.OperationalError:
        # What SQLite keeps beside the file has no room on a full disk.
        if not (folder / RESERVED).exists():
            raise
        (folder / RESERVED).unlink()
        return open_file(folder)


def _make(base: sqlite3.Connection, changes: Sequence[Change]) -> None:
    with transaction(base):
        for (kind, table), same in groupby(
            changes, key=lambda change: (type(change), change.table)
        ):
            base.executemany(_STATEMENTS[kind].format(table), map(_values, same))


def _values(change: Change) -> tuple[Any, ...]:
    return (change.key, change.value) if isinstance(change, Put) else (change.key,)
