"""Following of recorded output through the rotation of its files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from flow_manager_core.contracts import LogStreamer
from flow_manager_process.backend import ProcessBackend
from flow_manager_process.output_tail import OutputTail
from flow_manager_process.shim import LINE_LIMIT, Recorder

BEGINNING = datetime.fromtimestamp(0, UTC)
#: Bytes of one file; the recorder takes no less.
HALF = 2 * LINE_LIMIT


class Written:
    """A recorder, and the numbers that it was given."""

    def __init__(self, folder: Path) -> None:
        self._recorder = Recorder(str(folder), HALF * 2)
        self._folder = folder
        self.count = 0

    def line(self) -> None:
        self._recorder.take(b"o", b"%06d %s\n" % (self.count, b"x" * 1000))
        self.count += 1

    def until_rotated(self, times: int) -> None:
        for _ in range(times):
            before = (self._folder / "output.log").stat().st_ino
            while (self._folder / "output.log").stat().st_ino == before:
                self.line()


def numbers(tail: OutputTail) -> list[int]:
    found: list[int] = []
    while lines := tail.read():
        found += [int(line.line[:6]) for line in lines]
    return found


@pytest.mark.parametrize("times", [1, 2])
def test_a_reader_that_is_a_file_behind_misses_nothing_that_is_still_there(
    tmp_path: Path, times: int
) -> None:
    written = Written(tmp_path)
    written.line()
    tail = OutputTail(tmp_path, BEGINNING)
    assert numbers(tail) == [0]
    written.until_rotated(times)
    assert numbers(tail) == list(range(1, written.count))
    tail.close()


def test_a_reader_that_is_further_behind_misses_only_what_is_gone(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.line()
    tail = OutputTail(tmp_path, BEGINNING)
    assert numbers(tail) == [0]
    written.until_rotated(4)
    found = numbers(tail)
    fresh = OutputTail(tmp_path, BEGINNING)
    kept = numbers(fresh)
    fresh.close()
    assert found[-len(kept) :] == kept
    assert found[: -len(kept)] == list(range(1, 1 + len(found) - len(kept)))
    tail.close()


def test_what_is_written_between_a_look_and_the_rotation_is_read(tmp_path: Path) -> None:
    written = Written(tmp_path)
    tail = OutputTail(tmp_path, BEGINNING)
    found: list[int] = []
    while written.count < 300:  # many rotations, with a look after every line
        written.line()
        found += [int(line.line[:6]) for line in tail.read()]
    found += numbers(tail)
    assert found == list(range(written.count))
    tail.close()


def test_the_process_backend_says_that_output_can_be_followed() -> None:
    assert issubclass(ProcessBackend, LogStreamer)
