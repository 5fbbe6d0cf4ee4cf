"""What is read: ranges in the order of the keys, in both directions, and how much there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from flow_manager_core.journals import Drop, Journal, Put, number_key
from flow_manager_core.testing.journal_cases.journals import ONE, OTHER, Journals

KEYS = [number_key(number) for number in range(1, 41)]


class ReadingCases(Journals):
    """Reading."""

    @asynccontextmanager
    async def filled(self, folder: Path) -> AsyncIterator[Journal]:
        """A journal with 40 numbers; every fifth says so in its value."""
        async with self.open(folder) as journal:
            values = (b"fifth" if n % 5 == 0 else b"other" for n in range(1, 41))
            changes = [Put(ONE, key, value) for key, value in zip(KEYS, values, strict=True)]
            await journal.commit(changes[::-1])
            yield journal

    async def test_keys_come_in_the_order_of_their_bytes(self, tmp_path: Path) -> None:
        keys = ["", "Z", "a", "a\0", "aa", "b", "é", "\uffff", "😀"][1:]
        async with self.open(tmp_path) as journal:
            await journal.commit([Put(ONE, key, b"") for key in reversed(keys)])
            assert [key for key, _ in await journal.read(ONE)] == keys
            newest = await journal.read(ONE, newest_first=True)
            assert [key for key, _ in newest] == keys[::-1]

    async def test_a_range_leaves_its_bounds_out(self, tmp_path: Path) -> None:
        async with self.filled(tmp_path) as journal:
            found = await journal.read(ONE, after=KEYS[4], before=KEYS[8])
            assert [key for key, _ in found] == KEYS[5:8]
            found = await journal.read(ONE, after=KEYS[4], before=KEYS[8], newest_first=True)
            assert [key for key, _ in found] == KEYS[5:8][::-1]
            assert await journal.read(ONE, after=KEYS[4], before=KEYS[4]) == []

    async def test_bounds_need_not_be_there(self, tmp_path: Path) -> None:
        async with self.filled(tmp_path) as journal:
            await journal.commit([Drop(ONE, KEYS[4]), Drop(ONE, KEYS[8])])
            found = await journal.read(ONE, after=KEYS[4], before=KEYS[8])
            assert [key for key, _ in found] == KEYS[5:8]

    async def test_a_limit_takes_from_the_end_where_reading_begins(self, tmp_path: Path) -> None:
        async with self.filled(tmp_path) as journal:
            assert [key for key, _ in await journal.read(ONE, limit=3)] == KEYS[:3]
            newest = await journal.read(ONE, limit=3, newest_first=True)
            assert [key for key, _ in newest] == KEYS[:-4:-1]

    async def test_only_what_holds_the_bytes_is_read_and_counted(self, tmp_path: Path) -> None:
        fifths = KEYS[4::5]
        async with self.filled(tmp_path) as journal:
            assert [key for key, _ in await journal.read(ONE, holding=b"fif")] == fifths
            some = await journal.read(ONE, holding=b"fifth", limit=2, after=fifths[1])
            assert [key for key, _ in some] == fifths[2:4]
            newest = await journal.read(ONE, holding=b"h", newest_first=True, limit=1)
            assert newest == [(KEYS[-1], b"fifth")]
            assert await journal.read(ONE, holding=b"FIF") == []

    async def test_bytes_that_are_no_text_are_found_too(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            await journal.commit([Put(ONE, "a", b"\0\xff\xfe%_"), Put(ONE, "b", b"\0\xff%")])
            assert [key for key, _ in await journal.read(ONE, holding=b"\xff\xfe%")] == ["a"]

    async def test_values_are_found_by_their_keys_as_far_as_they_are_there(
        self, tmp_path: Path
    ) -> None:
        async with self.filled(tmp_path) as journal:
            found = await journal.get(ONE, {KEYS[0], KEYS[4], "none"})
            assert dict(found) == {KEYS[0]: b"other", KEYS[4]: b"fifth"}
            assert dict(await journal.get(ONE, [])) == {}
            assert dict(await journal.get(OTHER, KEYS)) == {}

    async def test_thousands_of_keys_can_be_asked_for(self, tmp_path: Path) -> None:
        async with self.filled(tmp_path) as journal:
            asked = [number_key(number) for number in range(40_000)]
            assert set(await journal.get(ONE, asked)) == set(KEYS)

    async def test_the_size_of_a_table_is_that_of_its_values(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            assert await journal.size(ONE) == 0
            await journal.commit([Put(ONE, "a", b"x" * 1000), Put(ONE, "b", "é".encode())])
            await journal.commit([Put(ONE, "a", b"\0" * 10), Put(OTHER, "a", b"x" * 5)])
            assert await journal.size(ONE) == 12
            await journal.commit([Drop(ONE, "a")])
            assert await journal.size(ONE) == 2
