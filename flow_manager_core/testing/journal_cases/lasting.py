"""What is there when the journal is opened again."""

from __future__ import annotations

from pathlib import Path

from flow_manager_core.journals import Drop, DropThrough, Put
from flow_manager_core.testing.journal_cases.journals import ONE, OTHER, Journals, everything


class LastingCases(Journals):
    """One folder, several lives."""

    async def test_what_was_committed_is_there_in_the_next_life(self, tmp_path: Path) -> None:
        async with self.open(tmp_path) as journal:
            await journal.commit([Put(ONE, key, b"1") for key in "abcdef"])
            await journal.commit([Drop(ONE, "f"), DropThrough(ONE, "b"), Put(ONE, "c", b"2")])
            await journal.commit([Put(OTHER, "a", b"3")], urgent=True)
        async with self.open(tmp_path) as journal:
            one, other = await everything(journal), await everything(journal, OTHER)
        if self.provider.lasting:
            assert one == {"c": b"2", "d": b"1", "e": b"1"}
            assert other == {"a": b"3"}
        else:
            assert one == other == {}

    async def test_a_journal_of_another_folder_is_another_one(self, tmp_path: Path) -> None:
        folders = [tmp_path / "one", tmp_path / "other"]
        for folder in folders:
            folder.mkdir()
        async with self.open(folders[0]) as one, self.open(folders[1]) as other:
            await one.commit([Put(ONE, "a", b"1")])
            assert await everything(other) == {}

    async def test_nothing_is_kept_outside_of_its_folder(self, tmp_path: Path) -> None:
        own = tmp_path / "own"
        own.mkdir()
        async with self.open(own) as journal:
            await journal.commit([Put(ONE, "a", b"1")])
        assert names_in(tmp_path) == [own.name]


def names_in(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(path.name for path in folder.iterdir())
