"""Where output could be lost between an answer and what is followed after it; in memory."""

from __future__ import annotations

from collections import deque
from datetime import timedelta

import pytest

from flow_manager_core.errors import EngineError
from flow_manager_core.log_following import EVENT_SIZE, after, pieces, size_of
from flow_manager_core.models import LogLine
from flow_manager_core.operations.logs import MOST_LINES
from flow_manager_core.requests import LogCursor
from flow_manager_core.testing.memory_container import Box
from tests.core.test_log_following import START, Stage, line, stage, until

pytestmark = pytest.mark.anyio

BEGINNING = "1970-01-01T00:00:00Z/0"
COUNT = 2 * MOST_LINES + 500


def box_of(s: Stage) -> Box:
    (boxes,) = s.engine.boxes.values()
    (box,) = boxes.values()
    return box


def say_much(s: Stage) -> None:
    """Say more than an answer has, to an engine that keeps it all."""
    box = box_of(s)
    box.output = deque(box.output)
    s.speaker.say(*map(str, range(COUNT)))


@pytest.mark.parametrize("same_moment", [False, True])
async def test_more_lines_than_an_answer_has_are_told_one_answer_after_the_other(
    same_moment: bool,
) -> None:
    async with stage() as s, s.follower() as f:
        key = await s.create(f.client)
        say_much(s)
        if same_moment:
            box = box_of(s)
            at = box.output[0].timestamp
            box.output = deque(LogLine(at, each.stream, each.line) for each in box.output)
        told, cursor = [], BEGINNING
        for _ in range(4):
            _, body = await f.client.request(
                "get_container_logs", {"container_id": key, "cursor": cursor}
            )
            assert len(body["lines"]) <= MOST_LINES
            told += [entry["line"] for entry in body["lines"]]
            cursor = body["cursor"]
        assert told == list(map(str, range(COUNT)))


async def test_a_client_that_follows_far_behind_gets_the_rest_as_it_reads() -> None:
    async with stage() as s, s.follower() as f:
        key = await s.create(f.client)
        say_much(s)
        answer = await f.follow(key, cursor=BEGINNING)
        first = [entry["line"] for entry in answer["lines"]]
        await until(lambda: len(first) + len(f.lines) >= COUNT)
        assert first + f.lines == list(map(str, range(COUNT)))


async def test_runs_that_begin_and_end_while_a_client_reads_are_told_when_it_comes_to_them() -> (
    None
):
    async with stage() as s, s.follower() as f:
        key = await s.create(f.client)
        await f.follow(key)
        s.engine.faults["follow_logs"] = EngineError("the stream broke")
        for run in range(3):
            s.speaker.say(f"run {run}")
            await f.client.request("restart_container", {"container_id": key})
        await f.client.request("stop_container", {"container_id": key})
        s.engine.faults.clear()
        await until(lambda: f.lines == ["run 0", "run 1", "run 2"])


def test_an_event_has_a_bounded_size_and_the_parts_are_all() -> None:
    lines = [line("x" * 1000, number) for number in range(2000)]
    parts = list(pieces(lines))
    assert [each for part in parts for each in part] == lines
    assert max(sum(map(size_of, part)) for part in parts) <= EVENT_SIZE
    assert len(parts) < 2000 * 1100 / EVENT_SIZE + 2
    long = [line("y" * EVENT_SIZE, 0), line("z", 1)]
    assert [len(part) for part in pieces(long)] == [1, 1]
    assert list(pieces([])) == []
    assert size_of(line("\0" * 100, 0)) > 600


def test_a_line_that_comes_late_takes_no_cursor_back() -> None:
    cursor = LogCursor(START + timedelta(milliseconds=5), 2)
    assert after(cursor, [line("late", 4)]) == cursor
    assert after(cursor, [line("late", 4), line("same", 5)]).count == 3
