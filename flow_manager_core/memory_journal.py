"""A journal in memory: what it keeps lasts as long as the manager."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

import anyio.lowlevel

from flow_manager_core.journals import Change, Drop, DropThrough, Journal, Put, Table


class _Rows:
    """One table: its values, and its keys in order."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.keys: list[str] = []
        self.size = 0

    def put(self, key: str, value: bytes) -> None:
        """Keep a value."""
        former = self.values.get(key)
        if former is None:
            insort(self.keys, key)
        self.size += len(value) - len(former or b"")
        self.values[key] = value

    def drop(self, key: str) -> None:
        """Keep it no longer."""
        former = self.values.pop(key, None)
        if former is not None:
            del self.keys[bisect_left(self.keys, key)]
            self.size -= len(former)

    def drop_through(self, key: str) -> None:
        """Keep none up to a key."""
        end = bisect_right(self.keys, key)
        self.size -= sum(len(self.values.pop(each)) for each in self.keys[:end])
        del self.keys[:end]


class MemoryJournal(Journal):
    """A `Journal` for embedding without persistence."""

    def __init__(self) -> None:
        self._tables = {table: _Rows() for table in Table}

    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        """See `Journal`; nothing can fail here."""
        for change in changes:
            rows = self._tables[change.table]
            match change:
                case Put(_, key, value):
                    rows.put(key, value)
                case Drop(_, key):
                    rows.drop(key)
                case DropThrough(_, key):
                    rows.drop_through(key)

    async def get(self, table: Table, keys: Collection[str]) -> Mapping[str, bytes]:
        """See `Journal`."""
        await anyio.lowlevel.checkpoint()
        values = self._tables[table].values
        return {key: values[key] for key in keys if key in values}

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
        await anyio.lowlevel.checkpoint()
        rows = self._tables[table]
        first = bisect_right(rows.keys, after)
        end = len(rows.keys) if before is None else bisect_left(rows.keys, before)
        keys = rows.keys[first:end]
        ordered = reversed(keys) if newest_first else iter(keys)
        found = ((key, rows.values[key]) for key in ordered if holding in rows.values[key])
        return list(islice(found, limit))

    async def size(self, table: Table) -> int:
        """See `Journal`."""
        await anyio.lowlevel.checkpoint()
        return self._tables[table].size
