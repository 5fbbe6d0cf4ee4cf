"""The log's file: not over a link, not somebody else's, and no reason to stop."""

from __future__ import annotations

import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flow_manager_core import Settings
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import get_log
from flow_manager_core.log_file import LogFile
from flow_manager_core.logs import logging_to
from flow_manager_core.settings import LogFormat

LOG = get_log("test")
NAME = "flow-manager.log"


def victim_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def dangling_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim.with_name("not-there"))


def hard_link(place: Path, victim: Path) -> None:
    place.hardlink_to(victim)


def pipe(place: Path, _victim: Path) -> None:
    os.mkfifo(place)


def folder(place: Path, _victim: Path) -> None:
    place.mkdir()


def foreign_file(place: Path, _victim: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root can make a file of another user")
    place.touch()
    os.chown(place, 12345, 12345)


PLANTED = (victim_link, dangling_link, hard_link, pipe, folder, foreign_file)
each_plant = pytest.mark.parametrize("plant", PLANTED, ids=[each.__name__ for each in PLANTED])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and beside it a file that nobody may touch."""
    made = tmp_path / "here"
    made.mkdir()
    (tmp_path / "victim").write_text("precious")
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def victim(here: Path) -> Iterator[Path]:
    path = here.parent / "victim"
    before = path.stat()
    yield path
    assert path.read_text() == "precious"
    assert path.stat().st_mode == before.st_mode
    assert {p.name for p in here.parent.iterdir()} == {"here", "victim"}


@each_plant
def test_a_planted_log_in_the_current_folder_is_done_without(
    plant: object, here: Path, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(plant)
    plant(here / NAME, victim)
    with logging_to(Settings()):
        LOG.info("Said all the same")
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("[WARNING] The log goes to standard error alone, reason=")
    assert NAME in told[0]
    assert told[1:] == ["[INFO] Said all the same"]


@each_plant
def test_a_log_that_was_named_must_be_a_plain_file_of_ones_own(
    plant: object, here: Path, victim: Path
) -> None:
    assert callable(plant)
    path = here / "named.log"
    plant(path, victim)
    with pytest.raises(ConfigurationError) as caught, logging_to(Settings(log_file=str(path))):
        pytest.fail("it was opened")
    (fault,) = caught.value.faults
    assert fault.field == "log_file"
    assert str(path) in fault.message


def test_a_new_log_is_its_owners_alone_and_an_older_one_stays_as_it_was_shared(
    here: Path,
) -> None:
    with logging_to(Settings()):
        LOG.info("x")
    assert stat.S_IMODE((here / NAME).stat().st_mode) == 0o600
    (here / NAME).chmod(0o666)
    with logging_to(Settings()):
        LOG.info("x")
    assert stat.S_IMODE((here / NAME).stat().st_mode) == 0o644


class Small:
    """A log file of a few lines."""

    def __init__(self, path: Path) -> None:
        self.told: list[tuple[str, str]] = []
        self.handler = LogFile(path, 1000, 2, lambda *told: self.told.append(told))

    def write(self, text: str) -> None:
        import logging

        record = logging.LogRecord("test", logging.INFO, "", 0, text, (), None)
        self.handler.handle(record)


@pytest.fixture
def small(here: Path) -> Iterator[Small]:
    made = Small(here / NAME)
    yield made
    made.handler.close()


def texts(here: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in here.glob(f"{NAME}*")}


def test_rotation_keeps_the_newest_in_order(small: Small, here: Path) -> None:
    (here / NAME).chmod(0o640)
    for number in range(50):
        small.write(f"{number:04d} {'x' * 94}")
    found = texts(here)
    assert sorted(found) == [NAME, f"{NAME}.1", f"{NAME}.2"]
    told = (found[f"{NAME}.2"] + found[f"{NAME}.1"] + found[NAME]).splitlines()
    numbers = [int(line[:4]) for line in told]
    assert numbers == list(range(numbers[0], 50))
    assert len(numbers) > 20
    assert {stat.S_IMODE((here / name).stat().st_mode) for name in found} == {0o640}
    assert not small.told


def test_links_planted_at_the_old_logs_names_lead_nowhere(
    small: Small, here: Path, victim: Path
) -> None:
    for name in (f"{NAME}.1", f"{NAME}.2", f"{NAME}.new"):
        (here / name).symlink_to(victim)
    for number in range(50):
        small.write(f"{number:04d} {'x' * 94}")
    assert not any((here / name).is_symlink() for name in texts(here))
    assert not small.told


def test_a_log_swapped_under_the_service_leads_nowhere(
    small: Small, here: Path, victim: Path
) -> None:
    small.write("before")
    (here / NAME).unlink()
    (here / NAME).symlink_to(victim)
    for number in range(50):
        small.write(f"{number:04d} {'x' * 94}")
    assert not small.told


def test_a_folder_swapped_under_the_service_gets_nothing(
    small: Small, here: Path, victim: Path
) -> None:
    moved = here.rename(here.with_name("moved"))
    here.mkdir()
    for number in range(50):
        small.write(f"{number:04d} {'x' * 94}")
    assert not list(here.iterdir())
    assert sorted(texts(moved)) == [NAME, f"{NAME}.1", f"{NAME}.2"]
    here.rmdir()
    moved.rename(here)


def test_a_folder_in_an_old_logs_place_ends_neither_service_nor_log(
    small: Small, here: Path
) -> None:
    (here / f"{NAME}.2").mkdir()
    for _ in range(50):
        small.write("x" * 100)
    assert [event for event, _ in small.told] == ["The log file cannot be written"]
    assert (here / NAME).stat().st_size <= 1000
    (here / f"{NAME}.2").rmdir()
    small.write("x" * 100)
    assert [event for event, _ in small.told][1:] == ["The log file is written again"]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_lines_and_is_told_once(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(Settings(log_format=LogFormat.JSON)):
        with room_for(1000):
            for number in range(100):
                LOG.info("Told", number=number, padding="x" * 150)
        LOG.info("Room again")
    kept = [json.loads(line) for line in (here / NAME).read_text().splitlines()]
    assert [entry.get("number") for entry in kept] == [0, 1, 2, None]
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(told) == 103
    about = [entry for entry in told if entry["event"].startswith("The log file")]
    assert [entry["reason"] for entry in about][1:] == ["97 lines are missing in it"]
    assert str(os.strerror(27)) in about[0]["reason"] or "were taken" in about[0]["reason"]
