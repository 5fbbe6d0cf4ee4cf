"""How changes are made: in their order, as a whole, and as they were given."""

from __future__ import annotations

from pathlib import Path

import anyio

from flow_manager_core.journals import Drop, DropThrough, Journal, Put
from flow_manager_core.testing.journal_cases.journals import ONE, OTHER, Journals, everything

#: Keys that something on the way to a disk may take for something else.
ODD_KEYS = (
    *(" ", "a b", "'", '"', "';--", "%", "_", "\\", "/", "..", "\n", "a\0b", "a\0c", "\x7f"),
    *("é", "e\u0301", "É", "\uff45", "\u2028", "\ufeffa", "\uffff", "😀", "k" * 2000),
)
#: Bytes of a value that is larger than any page or buffer on its way.
BIG = 5 * 1024 * 1024


class ChangeCases(Journals):
    """Putting and dropping."""

    async def test_a_value_takes_the_place_of_the_former_one(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            await journal.commit([Put(ONE, "a", b"1")])
            await journal.commit([Put(ONE, "a", b"2")])
            assert await everything(journal) == {"a": b"2"}

    async def test_changes_are_made_in_their_order(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            await journal.commit([Put(ONE, "a", b"1"), Drop(ONE, "a"), Put(ONE, "b", b"1")])
            await journal.commit([Drop(ONE, "b"), Put(ONE, "b", b"2"), Put(ONE, "b", b"3")])
            assert await everything(journal) == {"b": b"3"}

    async def test_what_is_not_there_can_be_dropped(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            await journal.commit([Drop(ONE, "a"), DropThrough(ONE, "b"), Put(ONE, "c", b"1")])
            assert await everything(journal) == {"c": b"1"}

    async def test_dropping_through_a_key_takes_that_one_too_and_no_other(
        self, tmp_path: Path
    ) -> None:
        async with self.open(tmp_path) as journal:
            await journal.commit([Put(ONE, key, b"1") for key in ("a", "b", "ba", "c")])
            await journal.commit([Put(OTHER, "a", b"1"), DropThrough(ONE, "b")])
            assert list(await everything(journal)) == ["ba", "c"]
            assert list(await everything(journal, OTHER)) == ["a"]

    async def test_a_key_is_its_own_tables_alone(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            await journal.commit([Put(ONE, "a", b"1"), Put(OTHER, "a", b"2")])
            await journal.commit([Drop(ONE, "a")])
            assert await everything(journal) == {}
            assert await journal.get(OTHER, ["a"]) == {"a": b"2"}

    async def test_no_changes_are_a_commit_too(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            await journal.commit([])
            assert await everything(journal) == {}

    async def test_odd_keys_are_kept_as_they_are(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            await journal.commit([Put(ONE, key, key.encode()) for key in ODD_KEYS])
            assert await everything(journal) == {key: key.encode() for key in ODD_KEYS}
            assert set(await journal.get(ONE, ODD_KEYS)) == set(ODD_KEYS)
            await journal.commit([Drop(ONE, key) for key in ODD_KEYS[1:]])
            assert list(await everything(journal)) == [ODD_KEYS[0]]

    async def test_values_are_any_bytes_and_may_be_big(self, tmp_path: Path) -> None:
        values = {"empty": b"", "all": bytes(range(256)), "big": b"x" * BIG}
        async with self.open(tmp_path) as journal:
            await journal.commit([Put(ONE, key, value) for key, value in values.items()])
            kept = await everything(journal)
            assert {key: len(value) for key, value in kept.items()} == {
                "empty": 0,
                "all": 256,
                "big": BIG,
            }
            assert [key for key in values if kept[key] != values[key]] == []

    async def test_nobody_sees_half_of_a_commit(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal, anyio.create_task_group() as tasks:
            tasks.start_soon(_write_pairs, journal)
            while (seen := await journal.read(ONE))[-1:] != [("z", b"29")]:
                assert len({value for _, value in seen}) <= 1

    async def test_a_commit_that_is_cancelled_is_made_as_a_whole_or_not_at_all(
        self, tmp_path: Path
    ) -> None:
        async with self.open(tmp_path) as journal:
            for number in range(30):
                value = str(number).encode()
                with anyio.move_on_after(number / 10_000):
                    await journal.commit([Put(ONE, "a", value), Put(OTHER, "a", value)])
                one, other = await everything(journal), await everything(journal, OTHER)
                assert one == other
            await journal.commit([Put(ONE, "a", b"after"), Drop(OTHER, "a")])
            assert await everything(journal) == {"a": b"after"}

    async def test_commits_of_many_tasks_are_all_made(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(journal.commit, [Put(ONE, str(number), b"1")])
            assert len(await everything(journal)) == 50


async def _write_pairs(journal: Journal) -> None:
    for number in range(30):
        value = str(number).encode()
        await journal.commit([Put(ONE, "a", value), Put(ONE, "z", value)])
