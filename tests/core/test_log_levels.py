"""The level of the manager's own log, changed while it runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from flow_manager_core import Settings
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.log import ROOT, get_log
from flow_manager_core.logs import logging_to
from flow_manager_core.models import Answer, Client, Role
from flow_manager_core.settings import LogLevel
from tests.core.test_manager import House, house

pytestmark = pytest.mark.anyio

CHANNEL = get_log("channel")


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """The service's handlers, at ``INFO``."""
    path = tmp_path / "the.log"
    with logging_to(Settings(log_file=str(path))):
        yield path


async def of_an_admin(h: House, level: str | None, **more: str) -> Answer:
    client = Client("test", "1", "ops", Role.ADMIN)
    return await h.manager.session(client).answer("set_log_level", {"level": level, **more})


async def test_more_is_told_from_the_next_line_on_and_less_again(log_file: Path) -> None:
    async with house() as h:
        assert await h.ask("get_log_level") == {"level": "INFO", "parts": {}}
        CHANNEL.debug("unheard")
        answer = await of_an_admin(h, "DEBUG")
        assert answer == Answer("log_level", {"level": "DEBUG", "parts": {}})
        CHANNEL.debug("heard")
        await h.ask("set_log_level", level="ERROR")
        CHANNEL.warning("hushed")
        CHANNEL.error("a failure")
    text = await anyio.Path(log_file).read_text()
    assert "heard" in text
    assert "unheard" not in text
    assert "hushed" not in text
    assert "[ERROR] a failure" in text
    # Both changes stand there, although the second hides what comes after it.
    assert "Log level changed, part=all, level=DEBUG, by=ops" in text
    assert "Log level changed, part=all, level=ERROR" in text


async def test_one_part_has_a_level_of_its_own_until_it_is_taken_back(log_file: Path) -> None:
    async with house() as h:
        told = await h.ask("set_log_level", level="DEBUG", part="channel")
        assert told == {"level": "INFO", "parts": {"channel": "DEBUG"}}
        CHANNEL.debug("heard")
        get_log("supervisor").debug("another part")
        told = await h.ask("set_log_level", level=None, part="channel")
        assert told == {"level": "INFO", "parts": {}}
        CHANNEL.debug("no more")
    text = await anyio.Path(log_file).read_text()
    assert "heard" in text
    assert "another part" not in text
    assert "no more" not in text


async def test_without_a_level_all_is_as_it_was_at_first(log_file: Path) -> None:
    async with house() as h:
        await h.ask("set_log_level", level="DEBUG")
        assert (await h.ask("set_log_level", level=None))["level"] == "INFO"


async def test_a_level_ends_with_the_managers_life_and_the_hosts_loggers_stay_as_they_are() -> None:
    ours, root, other = (logging.getLogger(name) for name in (ROOT, "", "uvicorn"))
    before = (ours.level, root.level, other.level, list(root.handlers), CHANNEL.level)
    async with house() as h:
        await h.ask("set_log_level", level="DEBUG")
        await h.ask("set_log_level", level="CRITICAL", part="channel")
        assert ours.level == logging.DEBUG
        assert (root.level, other.level, list(root.handlers)) == before[1:4]
    assert (ours.level, root.level, other.level, list(root.handlers), CHANNEL.level) == before
    async with house() as h:
        assert (await h.ask("get_log_level"))["parts"] == {}


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "level"),
        ({"level": "LOUD"}, "level"),
        ({"level": 10}, "level"),
        ({"level": "DEBUG", "part": "no.such.part"}, "part"),
        ({"level": "DEBUG", "part": ""}, "part"),
        ({"level": "DEBUG", "part": "a\nb"}, "part"),
    ],
)
async def test_what_is_no_level_and_no_part_is_refused_and_leaves_no_logger(
    payload: dict[str, object], field: str
) -> None:
    async with house() as h:
        known = set(logging.Logger.manager.loggerDict)
        with pytest.raises(InvalidRequest) as caught:
            await h.manager.execute("set_log_level", payload)
        assert [fault.field for fault in caught.value.faults] == [field]
        assert set(logging.Logger.manager.loggerDict) == known


async def test_only_an_admin_changes_what_the_log_tells() -> None:
    async with house() as h:
        for role in (Role.READ, Role.OPERATE):
            session = h.manager.session(Client("test", "1", "ci", role))
            answer = await session.answer("set_log_level", {"level": "DEBUG"})
            assert (answer.event, answer.body["details"]["required_role"]) == ("error", "admin")


def test_every_level_of_the_settings_is_one_of_the_standard_library() -> None:
    assert {str(level) for level in LogLevel} <= set(logging.getLevelNamesMapping())
