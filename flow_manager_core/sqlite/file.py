"""The file of the SQLite journal: its tables, its versions, and looks at it. All of it blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from flow_manager_core.journals import Table, number_of
from flow_manager_core.past import Past, past_of

NAME = "journal.sqlite"
#: Where desired states and facts were kept before there was a journal.
FORMER = "records.sqlite"
#: What the former file is called once the journal has taken it over.
TAKEN = "records.sqlite.taken-over"
#: The last schema of the former file.
FORMER_SCHEMA = 1
#: Seconds that one who reads or writes beside us may keep the file locked.
BUSY = 5.0
#: Bytes; twice SQLite's own take a fifth less time for groups of events, and for single writes.
PAGE = 8192
#: Bytes that the write-ahead log keeps once it was checkpointed.
LOG_SIZE = 16 * 1024 * 1024

#: What reading a file raises that cannot be read, or is none of ours.
UNREADABLE = (sqlite3.Error, OSError, ValueError, TypeError, KeyError)


class LaterVersion(ValueError):
    """The file was written by a later version than this one."""


def _make_tables(base: sqlite3.Connection, folder: Path) -> None:
    for table in Table:
        base.execute(
            f"CREATE TABLE {table} (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
        )
    former = folder / FORMER
    if former.exists():
        _take_over(base, former)


#: Step by step from an empty file to today's schema; the number of steps is its version. A step is
#: never changed once it was released.
MIGRATIONS: tuple[Callable[[sqlite3.Connection, Path], None], ...] = (_make_tables,)


def open_file(folder: Path) -> sqlite3.Connection:
    """Check the file, make it if there is none, and bring it to today's schema.

    Raises:
        One of `UNREADABLE`: it cannot be used, and is as it was.
    """
    path = folder / NAME
    if path.exists() and path.stat().st_size:
        with closing(look_at(path)) as base:
            check(base, len(MIGRATIONS))
    base = connect(path)
    try:
        path.chmod(0o600)
        base.execute(f"PRAGMA page_size={PAGE}")  # of a file that is new
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.execute(f"PRAGMA journal_size_limit={LOG_SIZE}")
        _migrate(base, folder)
    except BaseException:
        base.close()
        raise
    if (former := folder / FORMER).exists():
        former.replace(folder / TAKEN)
    return base


def connect(path: Path) -> sqlite3.Connection:
    """A connection that any one thread at a time may use."""
    return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=BUSY)


def _migrate(base: sqlite3.Connection, folder: Path) -> None:
    with transaction(base):
        for number, step in enumerate(MIGRATIONS[version_of(base) :], start=version_of(base) + 1):
            step(base, folder)
            base.execute(f"PRAGMA user_version={number}")


@contextmanager
def transaction(base: sqlite3.Connection) -> Iterator[None]:
    """What is done inside is done as a whole or not at all."""
    base.execute("BEGIN IMMEDIATE")
    try:
        yield
        base.execute("COMMIT")
    except BaseException:
        if base.in_transaction:
            base.execute("ROLLBACK")
        raise


def _take_over(base: sqlite3.Connection, former: Path) -> None:
    """Put the former records in; the file is renamed once this is committed."""
    try:
        past = look_at_former(former)
        with closing(look_at(former)) as records:
            rows = {
                Table.CONTAINERS: records.execute("SELECT key, body FROM containers").fetchall(),
                Table.FACTS: list(past.facts.items()),
            }
    except UNREADABLE as error:
        raise ValueError(f"the records in {former} that it is to take over: {error}") from error
    for table, entries in rows.items():
        encoded = [(key, value.encode()) for key, value in entries]
        base.executemany(f"INSERT INTO {table} VALUES (?, ?)", encoded)  # noqa: S608


def version_of(base: sqlite3.Connection) -> int:
    """The version of a file's schema; 0: it is empty."""
    (version,) = base.execute("PRAGMA user_version").fetchone()
    return int(version)


def check(base: sqlite3.Connection, latest: int) -> None:
    """See that a file is whole and of no later version.

    Raises:
        ValueError, sqlite3.Error: it is not.
    """
    version = version_of(base)
    if version > latest:
        raise LaterVersion(f"it was written by a later version ({version})")
    (verdict,) = base.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise ValueError(verdict)


def look_at(path: Path) -> sqlite3.Connection:
    """Open a file beside whoever writes it; nothing is changed, and what is damaged stays so.

    Raises:
        One of `UNREADABLE`: it cannot be opened.
    """
    # Without a log beside it the file is whole, and SQLite would make one only to read it.
    log = path.with_name(f"{path.name}-wal")
    whole = "" if log.exists() and log.stat().st_size else "&immutable=1"
    with path.open("rb"):  # says why it cannot be read, which SQLite does not
        uri = f"{path.absolute().as_uri()}?mode=ro{whole}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY)


def look_back(folder: Path) -> Past:
    """Read what an instance's last life left, beside whoever writes it.

    Raises:
        FileNotFoundError: there is nothing yet.
        One of `UNREADABLE`: it cannot be read.
    """
    path = folder / NAME
    if not path.exists() and (folder / FORMER).exists():
        return look_at_former(folder / FORMER)
    with closing(look_at(path)) as base:
        check(base, len(MIGRATIONS))
        if not version_of(base):
            return Past({}, {})
        return past_of(_all(base, Table.CONTAINERS), _all(base, Table.FACTS), _last(base))


def look_at_former(path: Path) -> Past:
    """Read the records of before there was a journal.

    Raises:
        One of `UNREADABLE`: they cannot be read.
    """
    with closing(look_at(path)) as base:
        check(base, FORMER_SCHEMA)
        rows = base.execute("SELECT key, body FROM containers").fetchall()
        facts = base.execute("SELECT name, value FROM facts").fetchall()
    return past_of(_encoded(rows), _encoded(facts))


def _all(base: sqlite3.Connection, table: Table) -> Sequence[tuple[str, bytes]]:
    return base.execute(f"SELECT key, value FROM {table}").fetchall()  # noqa: S608


def _last(base: sqlite3.Connection) -> int:
    (key,) = base.execute(f"SELECT max(key) FROM {Table.EVENTS}").fetchone()  # noqa: S608
    return number_of(key) if key else 0


def _encoded(rows: Sequence[tuple[str, str]]) -> list[tuple[str, bytes]]:
    return [(key, value.encode()) for key, value in rows]
