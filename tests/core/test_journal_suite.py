"""The suite of journals finds what is wrong: its case fails on a journal with that fault."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core.journals import Change, Drop, DropThrough, Journal, Put, Table
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.providers import JournalProvider, ProviderContext
from flow_manager_core.testing.journal_suite import JournalSuite

FOUND = (AssertionError, TimeoutError, BaseExceptionGroup, UnicodeError)


class Backwards(MemoryJournal):
    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        await super().commit(changes[::-1])


class KeepsTheFirst(MemoryJournal):
    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        for change in changes:
            if not (isinstance(change, Put) and await self.get(change.table, [change.key])):
                await super().commit([change])


class StopsBefore(MemoryJournal):
    """Drops less than through a key."""

    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        for change in changes:
            kept: Sequence[Any] = []
            if isinstance(change, DropThrough):
                found = await self.get(change.table, [change.key])
                kept = [Put(change.table, *item) for item in found.items()]
            await super().commit([change, *kept])


class OneTable(MemoryJournal):
    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        both = (Table.CONTAINERS, Table.FACTS)
        for change in changes:
            others = both if isinstance(change, Drop) else (change.table,)
            for table in others:
                await super().commit([Drop(table, change.key) if len(others) > 1 else change])


class Piecemeal(MemoryJournal):
    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        for change in changes:
            await super().commit([change])
            await anyio.sleep(0.0001)


class CutsShort(MemoryJournal):
    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        mended = (
            Put(change.table, change.key.partition("\0")[0], change.value[:65536])
            if isinstance(change, Put)
            else change
            for change in changes
        )
        await super().commit(list(mended))


class LosesRaces(MemoryJournal):
    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        busy = getattr(self, "busy", False)
        self.busy = True
        await anyio.sleep(0)
        if not busy:
            await super().commit(changes)
        self.busy = False


class Reads(MemoryJournal):
    """Lets one of the faults below change what is read."""

    def change(self, asked: dict[str, Any], found: list[tuple[str, bytes]]) -> Any:
        return found

    async def read(self, table: Table, **asked: Any) -> Sequence[tuple[str, bytes]]:
        found = await super().read(table, **asked)
        return list(self.change(asked, list(found)))


class Utf16Order(Reads):
    def change(self, asked: dict[str, Any], found: list[tuple[str, bytes]]) -> Any:
        key = [item[0].encode("utf-16-be") for item in found]
        pairs = sorted(zip(key, found, strict=True), reverse=asked.get("newest_first", False))
        return [item for _, item in pairs]


class HeldToTheLimitFirst(MemoryJournal):
    async def read(self, table: Table, **asked: Any) -> Sequence[tuple[str, bytes]]:
        holding = asked.pop("holding", b"")
        return [item for item in await super().read(table, **asked) if holding in item[1]]


class OneWay(MemoryJournal):
    async def read(self, table: Table, **asked: Any) -> Sequence[tuple[str, bytes]]:
        newest = asked.pop("newest_first", False)
        found = list(await super().read(table, **asked))
        return found[::-1] if newest else found


class BoundsIncluded(MemoryJournal):
    async def read(self, table: Table, **asked: Any) -> Sequence[tuple[str, bytes]]:
        found = list(await super().read(table, **asked))
        edges = await self.get(table, [asked.get("after", "")])
        return [*edges.items(), *found]


class SearchesText(MemoryJournal):
    async def read(self, table: Table, **asked: Any) -> Sequence[tuple[str, bytes]]:
        holding = asked.pop("holding", b"").decode("utf-8", "ignore").lower()
        found = await super().read(table, **asked)
        return [item for item in found if holding in item[1].decode("utf-8", "ignore").lower()]


class Invents(MemoryJournal):
    async def get(self, table: Table, keys: Collection[str]) -> Mapping[str, bytes]:
        found = await super().get(table, keys)
        return {key: found.get(key, b"") for key in keys}


class AFew(MemoryJournal):
    async def get(self, table: Table, keys: Collection[str]) -> Mapping[str, bytes]:
        return await super().get(table, list(keys)[:10])


class Counts(MemoryJournal):
    async def size(self, table: Table) -> int:
        return len(await self.read(table))


FAULTS: dict[str, tuple[type[MemoryJournal], str]] = {
    "goes backwards": (Backwards, "test_changes_are_made_in_their_order"),
    "keeps the first value": (
        KeepsTheFirst,
        "test_a_value_takes_the_place_of_the_former_one",
    ),
    "stops before a key": (
        StopsBefore,
        "test_dropping_through_a_key_takes_that_one_too_and_no_other",
    ),
    "mixes tables": (OneTable, "test_a_key_is_its_own_tables_alone"),
    "commits piecemeal": (Piecemeal, "test_nobody_sees_half_of_a_commit"),
    "is cut off by a cancellation": (
        Piecemeal,
        "test_a_commit_that_is_cancelled_is_made_as_a_whole_or_not_at_all",
    ),
    "cuts keys short": (CutsShort, "test_odd_keys_are_kept_as_they_are"),
    "cuts values short": (CutsShort, "test_values_are_any_bytes_and_may_be_big"),
    "loses races": (LosesRaces, "test_commits_of_many_tasks_are_all_made"),
    "orders as UTF-16": (Utf16Order, "test_keys_come_in_the_order_of_their_bytes"),
    "limits before it looks": (
        HeldToTheLimitFirst,
        "test_only_what_holds_the_bytes_is_read_and_counted",
    ),
    "turns round afterwards": (
        OneWay,
        "test_a_limit_takes_from_the_end_where_reading_begins",
    ),
    "includes bounds": (BoundsIncluded, "test_a_range_leaves_its_bounds_out"),
    "searches text": (SearchesText, "test_bytes_that_are_no_text_are_found_too"),
    "invents values": (
        Invents,
        "test_values_are_found_by_their_keys_as_far_as_they_are_there",
    ),
    "answers in part": (AFew, "test_thousands_of_keys_can_be_asked_for"),
    "counts entries": (Counts, "test_the_size_of_a_table_is_that_of_its_values"),
}


def suite(made: Callable[[], Journal], *, lasting: bool = False) -> Any:
    @asynccontextmanager
    async def factory(_context: ProviderContext, _folder: Path) -> AsyncIterator[Journal]:
        yield made()

    provider = JournalProvider(name="mine", factory=factory, lasting=lasting)
    return type("Suite", (JournalSuite,), {"provider": provider})()


async def run(case: Callable[[Path], Any], folder: Path) -> None:
    with anyio.fail_after(5):
        await case(folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_journal_that(fault: str, tmp_path: Path) -> None:
    kind, case = FAULTS[fault]
    anyio.run(run, getattr(suite(MemoryJournal), case), tmp_path)
    with pytest.raises(FOUND):
        anyio.run(run, getattr(suite(kind), case), tmp_path)


@pytest.mark.parametrize(
    ("fault", "case"),
    [
        ("forgets", "test_what_was_committed_is_there_in_the_next_life"),
        ("has one for all", "test_a_journal_of_another_folder_is_another_one"),
    ],
)
def test_a_lasting_journal_that(fault: str, case: str, tmp_path: Path) -> None:
    shared = MemoryJournal()
    made = MemoryJournal if fault == "forgets" else lambda: shared
    with pytest.raises(FOUND):
        anyio.run(run, getattr(suite(made, lasting=True), case), tmp_path)


def test_a_journal_that_writes_elsewhere(tmp_path: Path) -> None:
    def made() -> Journal:
        (tmp_path / "elsewhere").write_bytes(b"")
        return MemoryJournal()

    case = suite(made).test_nothing_is_kept_outside_of_its_folder
    with pytest.raises(FOUND):
        anyio.run(run, case, tmp_path)
