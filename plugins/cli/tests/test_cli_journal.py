"""``flow-manager journal``: what is wrong with the file, a new one, and what it holds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_cli.main import main
from flow_manager_core.booked import Booked, OperationState
from flow_manager_core.desired import Desired
from flow_manager_core.durable.dead import DeadLetters
from flow_manager_core.durable.letters import End, Letter, Reason, Status, row_of
from flow_manager_core.events import Event, MessageReceived
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import Journal, Put, Table, number_key
from flow_manager_core.past import EPOCH, desired_entry, fact_entry, read_past
from flow_manager_core.sqlite.file import MIGRATIONS
from flow_manager_core.sqlite.journal import SqliteJournal

#: Bytes; SQLite's own default.
PAGE = 4096

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The instance's folder."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    found = tmp_path / "instances" / "default"
    found.mkdir(parents=True)
    return found


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def journal(*arguments: str) -> tuple[int, str, str]:
        code = main(["journal", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return journal


def said(number: int) -> Event:
    return MessageReceived(container_id="c" * 64, message={"command": "x", "data": number})


OPERATION = Booked(
    operation="stop_container",
    request_id="r1",
    digest="d",
    by="owner",
    state=OperationState.SUCCEEDED,
    asked=1.0,
    ended=2.0,
)
EXPIRED = End(Status.UNDELIVERABLE, 2.0, Reason.TTL)


def letter(number: int, end: End | None = None) -> Letter:
    return Letter(number=number, container_id="c" * 64, at=1.0, size=15, end=end)


async def fill(journal: Journal, pages: int = 1, events: int = 5) -> None:
    """Keep one container, a fact, an operation, a message, and events."""
    writer = JournalWriter(journal, lambda _events: None, epoch="first")
    async with writer.running():
        await writer.write(
            desired_entry(Desired(key="1", name="one", container_id="0123456789ab")),
            fact_entry(EPOCH, "first"),
            fact_entry("engine_life", "boot"),
            OPERATION.put,
            Put(Table.OUTBOX, number_key(7), row_of(letter(7), b'{"command":"x"}')),
            Put(Table.INBOX, "c/s", b'{"seq":3,"at":1.0}'),
            DeadLetters.put(letter(6, EXPIRED), b'{"command":"y"}'),
        )
        for page in range(pages):
            told = [said(page * events + number) for number in range(events)]
            await writer.write(events=told)


def filled(folder: Path, **amount: int) -> Path:
    async def make() -> None:
        async with SqliteJournal.open(folder) as journal:
            await fill(journal, **amount)

    anyio.run(make)
    return folder / "journal.sqlite"


def damage(path: Path) -> None:
    """Overwrite a page of the events as a failing disk does."""
    place = path.read_bytes().index(b'"seq":100,') // PAGE * PAGE
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xa5" * PAGE)


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_journal_that_is_sound_or_not_there_yet_passes(run: Run, folder: Path) -> None:
    assert run("check")[0] == 0
    path = filled(folder)
    before = path.read_bytes()
    code, told, _ = run("check")
    assert (code, "is sound" in told) == (0, True)
    assert path.read_bytes() == before


def test_a_damaged_file_is_told_of_and_left_as_it_is(run: Run, folder: Path) -> None:
    path = filled(folder, pages=40)
    damage(path)
    before = path.read_bytes()
    code, told, _ = run("check")
    assert code == 1
    assert str(path) in told
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE containers SET value = x'7b'", "containers '1'"),
        ("UPDATE events SET value = x'6162'", "events"),
        ("UPDATE events SET key = '0000000000000000009'", "a page of other events"),
        ("UPDATE facts SET value = x'ff' WHERE key = 'engine_life'", "facts 'engine_life'"),
        ("UPDATE operations SET value = x'7b7d'", "operations '"),
        ("UPDATE operations SET key = 'somebody'", "an operation of another request"),
        ("UPDATE outbox SET value = x'5b5d0a7b7d'", "outbox '0000000000000000007'"),
        ("UPDATE outbox SET key = 'seven'", "outbox 'seven'"),
        ("UPDATE inbox SET value = x'ff'", "inbox 'c/s'"),
        ("UPDATE settled SET value = x'31'", "settled 'u0000000000000000006'"),
        ("UPDATE settled SET key = 'd0000000000000000006'", "a message that ended in another way"),
    ],
)
def test_entries_that_are_none_of_ours_are_told_of(
    run: Run, folder: Path, change: str, words: str
) -> None:
    with closing(sqlite3.connect(filled(folder))) as base:
        base.execute(change)
        base.commit()
    code, told, _ = run("check")
    assert code == 1
    assert words in told


def test_a_rebuilt_journal_has_what_could_be_read_and_a_name_of_its_own(
    run: Run, folder: Path
) -> None:
    path = filled(folder, pages=40)
    damage(path)
    before = path.read_bytes()
    code, told, _ = run("rebuild")
    assert code == 0
    (aside,) = folder.glob("journal.sqlite.damaged-*")
    assert str(aside) in told
    assert aside.read_bytes() == before
    assert run("check")[0] == 0

    async def look() -> tuple[Any, Sequence[Any]]:
        async with SqliteJournal.open(folder) as journal:
            return await read_past(journal), await journal.read(Table.EVENTS)

    past, pages = anyio.run(look)
    assert past.desired.keys() == {"1"}
    assert past.facts == {"engine_life": "boot"}  # the name is made at the next start
    assert past.last == 200
    assert 10 < len(pages) < 40


def test_a_rebuilt_journal_is_without_the_rows_that_are_none_of_ours(
    run: Run, folder: Path
) -> None:
    with closing(sqlite3.connect(filled(folder))) as base:
        base.execute("UPDATE outbox SET value = x'5b5d0a7b7d'")
        base.commit()
    code, told, _ = run("rebuild")
    assert code == 0
    assert "outbox" not in told
    assert "1 of settled" in told
    assert run("check")[0] == 0
    tables = {row["table"] for row in rows(run("export")[1])}
    assert tables == {"events", "operations", "inbox", "settled", "containers"}


@pytest.mark.parametrize("name", ["journal.sqlite", "records.sqlite"])
def test_of_a_file_that_is_none_at_all_nothing_is_saved_and_nothing_deleted(
    run: Run, folder: Path, name: str
) -> None:
    (folder / name).write_bytes(b"no database" * 1000)
    assert run("check")[0] == 1
    code, told, _ = run("rebuild")
    assert (code, "none" in told) == (0, True)
    (aside,) = folder.glob(f"{name}.damaged-*")
    assert aside.read_bytes() == b"no database" * 1000
    assert run("check")[0] == 0


def test_a_sound_journal_is_not_rebuilt(run: Run, folder: Path) -> None:
    path = filled(folder)
    before = path.read_bytes()
    code, told, _ = run("rebuild")
    assert (code, "nothing was done" in told) == (0, True)
    assert path.read_bytes() == before


def test_a_journal_of_a_later_version_is_not_rebuilt(run: Run, folder: Path) -> None:
    path = filled(folder)
    with closing(sqlite3.connect(path)) as base:
        base.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    code, _, complaint = run("rebuild")
    assert (code, "later version" in complaint) == (2, True)
    assert run("check")[0] == 1
    assert path.exists()


def test_beside_a_running_manager_it_is_checked_and_exported_but_not_rebuilt(
    run: Run, folder: Path
) -> None:
    from flow_manager_core.instance_folder import instance_folder
    from flow_manager_core.settings import Settings

    async def beside() -> None:
        async with SqliteJournal.open(folder) as journal:
            await fill(journal)
            assert run("check")[0] == 0
            assert len(rows(run("export", "--table", "events")[1])) == 5
            assert run("rebuild")[0] == 2
            await journal.commit([Put(Table.FACTS, "after", b"1")])

    with instance_folder(Settings(state_dir=folder.parent.parent)):
        anyio.run(beside)


def test_all_that_the_journal_holds_is_exported(run: Run, folder: Path) -> None:
    filled(folder)
    code, told, _ = run("export")
    assert code == 0
    found = rows(told)
    assert [row["table"] for row in found] == [
        *["events"] * 5,
        *("operations", "outbox", "inbox", "settled", "containers"),
    ]
    first, *_ = found
    assert (first["seq"], first["name"]) == (1, "message_received")
    assert first["body"]["message"] == {"command": "x", "data": 0}
    others = {row["table"]: row["value"] for row in found[5:]}
    assert others["operations"]["state"] == "succeeded"
    assert others["outbox"][1] == {"command": "x"}
    assert others["inbox"] == {"seq": 3, "at": 1.0}
    assert others["settled"]["message"] == {"command": "y"}
    assert others["containers"]["name"] == "one"


def test_what_is_no_text_is_exported_as_base64(run: Run, folder: Path) -> None:
    with closing(sqlite3.connect(filled(folder, pages=2))) as base:
        base.execute("UPDATE inbox SET value = x'fffe'")
        base.execute("UPDATE events SET value = x'fffe' WHERE key LIKE '%5'")
        base.commit()
    found = rows(run("export")[1])
    no_text = [row["table"] for row in found if row.get("value") == {"base64": "//4="}]
    assert no_text == ["events", "inbox"]
    assert [row["seq"] for row in found if "seq" in row] == [6, 7, 8, 9, 10]


def test_only_later_events_are_exported_where_that_is_asked(run: Run, folder: Path) -> None:
    filled(folder, pages=3)
    found = rows(run("export", "--table", "events", "--since", "7")[1])
    assert [row["seq"] for row in found] == list(range(8, 16))


def test_a_journal_that_is_not_there_cannot_be_exported(run: Run) -> None:
    code, told, complaint = run("export")
    assert (code, told) == (1, "")
    assert "cannot be read" in complaint


def test_a_journal_in_memory_has_no_file(run: Run) -> None:
    code, _, complaint = run("check", "--set", "journal=memory")
    assert (code, "journal" in complaint) == (2, True)
