"""A file in which a flow keeps what must outlive its process."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import contextmanager
from typing import Iterator, NamedTuple, Sequence

from flow_manager_sdk.errors import SpoolFault
from flow_manager_sdk.frames import Message
from flow_manager_sdk.telling import tell

_TABLES = """
CREATE TABLE IF NOT EXISTS outgoing (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Kept(NamedTuple):
    """What an earlier life of the flow left.

    Args:
        source: the name of its numbering; empty: there is none yet.
        last: the last number that it gave.
        pending: what the manager has not stored, by number.
        epoch, seen: how far it was done with the manager's messages.
    """

    source: str
    last: int
    pending: dict[int, Message]
    epoch: str
    seen: int


class Spool:
    """The file; each change is on disk when the call returns.

    Args:
        path: of an SQLite file, made if need be; one flow at a time has it.

    Raises:
        SpoolFault: it cannot be used.
    """

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        try:
            self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.executescript(_TABLES)
        except sqlite3.Error as error:
            raise SpoolFault(f"The spool {path} cannot be used: {error}") from error

    def load(self) -> Kept:
        """Read what is kept."""
        facts = dict(self._base.execute("SELECT name, value FROM facts"))
        rows = self._base.execute("SELECT seq, body FROM outgoing ORDER BY seq")
        return Kept(
            source=facts.get("source", ""),
            last=int(facts.get("last", 0)),
            pending={seq: Message(**json.loads(body)) for seq, body in rows},
            epoch=facts.get("epoch", ""),
            seen=int(facts.get("seen", 0)),
        )

    def begin(self, source: str, pending: Sequence[Message]) -> None:
        """Begin a numbering, with what waits as its first.

        Raises:
            SpoolFault: it cannot be kept.
        """
        rows = [(seq, _text(message)) for seq, message in enumerate(pending, 1)]
        with self._changing():
            self._base.execute("DELETE FROM outgoing")
            self._base.executemany("INSERT INTO outgoing VALUES (?, ?)", rows)
            self._note(source=source, last=len(rows))

    def keep(self, seq: int, message: Message) -> None:
        """Keep a message until the manager has stored it.

        Raises:
            SpoolFault: it cannot be kept.
        """
        with self._changing():
            self._base.execute("INSERT INTO outgoing VALUES (?, ?)", (seq, _text(message)))
            self._note(last=seq)

    def drop_through(self, seq: int) -> None:
        """The manager has stored all up to this one; what stays is sent again, and hidden there."""
        with _only_told(), self._changing():
            self._base.execute("DELETE FROM outgoing WHERE seq <= ?", (seq,))

    def done(self, epoch: str, seq: int) -> None:
        """The flow is done with all of the manager's messages up to this one."""
        with _only_told(), self._changing():
            self._note(epoch=epoch, seen=seq)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _note(self, **facts: object) -> None:
        rows = [(name, str(value)) for name, value in facts.items()]
        self._base.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            try:
                with self._base:
                    self._base.execute("BEGIN IMMEDIATE")
                    yield
            except sqlite3.Error as error:
                raise SpoolFault(f"The spool cannot be written: {error}") from error


@contextmanager
def _only_told() -> Iterator[None]:
    try:
        yield
    except SpoolFault as error:
        tell(str(error))


def _text(message: Message) -> str:
    fields = {
        "command": message.command,
        "data": message.data,
        "id": message.id,
        "reply_to": message.reply_to,
    }
    return json.dumps(fields)
