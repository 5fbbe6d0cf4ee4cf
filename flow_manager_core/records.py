"""Where desired states are kept from one life of the manager to the next."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
from anyio import to_thread
from attrs import frozen

from flow_manager_core.desired import Desired, Wish
from flow_manager_core.errors import ConfigurationError, SystemFault
from flow_manager_core.instance_folder import Workplace, instance_folder
from flow_manager_core.models import Fault
from flow_manager_core.settings import RecordsKind, Settings

T = TypeVar("T")

SCHEMA = 1
#: Bytes that are set aside, so that a stop or delete can be recorded although the disk is full.
RESERVE = 1024 * 1024

#: What reading a file raises that cannot be read, or is none of ours.
UNREADABLE = (sqlite3.Error, OSError, ValueError, TypeError, KeyError)

_TABLES = """
CREATE TABLE IF NOT EXISTS containers (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Records(Protocol):
    """Keeps desired states and a few facts about the past."""

    async def save(self, desired: Desired) -> None:
        """Keep; it lasts once this returns.

        Raises:
            SystemFault: it cannot be kept.
        """

    async def forget(self, key: str) -> None:
        """Keep no longer.

        Raises:
            SystemFault: the disk refuses.
        """

    async def save_fact(self, name: str, value: str) -> None:
        """Keep a fact.

        Raises:
            SystemFault: the disk refuses.
        """


@frozen
class Past:
    """What an earlier life left: its desired states, by key, and its facts."""

    desired: Mapping[str, Desired]
    facts: Mapping[str, str]


class MemoryRecords:
    """Nothing outlives the manager."""

    async def save(self, desired: Desired) -> None:
        """See `Records`."""

    async def forget(self, key: str) -> None:
        """See `Records`."""

    async def save_fact(self, name: str, value: str) -> None:
        """See `Records`."""


class SqliteRecords:
    """One file; each change is on disk (WAL, ``synchronous=FULL``) before the call returns.

    Args:
        path: of the file; it is kept as it is when it cannot be read.

    Raises:
        ConfigurationError: it is damaged, or of a later version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserve = path.with_name("reserve")
        # One writer: the thread that has its turn owns the connection.
        self._limiter = anyio.CapacityLimiter(1)
        with self._readable(), ExitStack() as failing:
            self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            failing.callback(self._base.close)
            path.chmod(0o600)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._prepare()
            self.past: Past = _read(self._base)
            failing.pop_all()
        self._set_aside()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            told = (
                f"the records in {self._path} cannot be read ({error}). Nothing was changed; move"
                " the file away to start without it: containers are found again by their labels"
            )
            raise ConfigurationError([Fault("state_dir", told)]) from error

    def _prepare(self) -> None:
        _check(self._base)
        self._base.executescript(_TABLES)
        self._base.execute(f"PRAGMA user_version={SCHEMA}")

    async def save(self, desired: Desired) -> None:
        """See `Records`; what ends something may use the reserve of a full disk."""
        body = json.dumps(desired.to_json(), separators=(",", ":"))
        statement = "INSERT OR REPLACE INTO containers VALUES (?, ?)"
        await self._write(statement, desired.key, body, urgent=desired.wish is not Wish.UP)

    async def forget(self, key: str) -> None:
        """See `Records`."""
        await self._write("DELETE FROM containers WHERE key = ?", key, urgent=True)

    async def save_fact(self, name: str, value: str) -> None:
        """See `Records`."""
        await self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    async def _write(self, statement: str, *values: str, urgent: bool = False) -> None:
        def write() -> None:
            try:
                self._base.execute(statement, values)
            except sqlite3.OperationalError:
                if not (urgent and self._reserve.exists()):
                    raise
                self._reserve.unlink()
                self._base.execute(statement, values)

        try:
            await self._in_thread(write)
        except (sqlite3.Error, OSError) as error:
            raise SystemFault(
                f"The desired state cannot be recorded: {error}",
                hint="Check disk space and permissions of the state folder",
            ) from error

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._limiter)

    def _set_aside(self) -> None:
        """Fill the reserve; a disk that is full already is no reason not to start."""
        try:
            if not self._reserve.exists():
                self._reserve.write_bytes(b"\0" * RESERVE)
        except OSError:
            self._reserve.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._base.close()


def _check(base: sqlite3.Connection) -> None:
    (version,) = base.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise ValueError(f"they were written by a later version ({version})")
    (verdict,) = base.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise ValueError(verdict)


def _read(base: sqlite3.Connection) -> Past:
    rows = base.execute("SELECT key, body FROM containers").fetchall()
    facts = dict(base.execute("SELECT name, value FROM facts").fetchall())
    return Past({key: Desired.from_json(json.loads(body)) for key, body in rows}, facts)


def look_at_records(path: Path) -> Past:
    """Read the records beside whoever writes them; no file is made or changed. Blocking.

    Raises:
        One of `UNREADABLE`: they cannot be read.
    """
    # Without a log beside it the file is whole, and SQLite would make one only to read it.
    log = path.with_name(f"{path.name}-wal")
    whole = "" if log.exists() and log.stat().st_size else "&immutable=1"
    with path.open("rb"):  # says why it cannot be read, which SQLite does not
        base = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{whole}", uri=True)
    with closing(base):
        _check(base)
        return _read(base)


@asynccontextmanager
async def open_records(settings: Settings) -> AsyncIterator[tuple[Records, Past, Workplace]]:
    """Open what the settings choose, for one life of the manager.

    Raises:
        ConfigurationError: another manager has it, or it cannot be read.
    """
    with ExitStack() as stack:
        if settings.records is RecordsKind.MEMORY:
            root = stack.enter_context(tempfile.TemporaryDirectory(prefix="flow-manager-"))
            yield MemoryRecords(), Past({}, {}), Workplace(Path(root))
            return
        folder = stack.enter_context(instance_folder(settings))
        records = await to_thread.run_sync(SqliteRecords, folder / "records.sqlite")
        stack.callback(records.close)
        yield records, records.past, Workplace(folder / "work")
