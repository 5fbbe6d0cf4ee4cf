"""One event is one line, whatever is in it; through structlog and the handlers of the service."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flow_manager_core import Settings
from flow_manager_core.log import get_log
from flow_manager_core.logs import ConsoleFormatter, JsonFormatter, logging_to
from flow_manager_core.settings import LogFormat, LogLevel
from flow_manager_core.trace import tracing
from tests.security.hostile import HOSTILE, sound_lines

each_text = pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
LOG = get_log("test")
FOREIGN = logging.getLogger("somebody.else")


class Broken:
    """An object that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


Lines = Callable[[], list[str]]


@pytest.fixture(params=list(LogFormat))
def log_format(request: pytest.FixtureRequest) -> LogFormat:
    return LogFormat(request.param)


@pytest.fixture
def lines(
    log_format: LogFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lines]:
    """What was logged; on standard error and in the file alike."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    path = tmp_path / "the.log"
    settings = Settings(log_level=LogLevel.DEBUG, log_format=log_format, log_file=str(path))

    def read() -> list[str]:
        told = stream.getvalue()
        assert path.read_bytes().decode() == told
        return sound_lines(told, log_format)

    with logging_to(settings):
        yield read


def raising(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001  # its traceback is what is wanted
        return caught


@each_text
def test_one_event_is_one_line_whatever_its_fields_hold(text: str, lines: Lines) -> None:
    LOG.info(text)
    LOG.warning("Value", error=text)
    LOG.debug("Nested", message={"command": text, "data": [{text: text}]})
    LOG.error("Object", error=ValueError(text), path=Path(text.replace("\0", "")))
    with tracing(text):
        LOG.info("Traced")
    assert len(lines()) == 5


@each_text
def test_an_exception_is_one_line_with_its_event(text: str, lines: Lines) -> None:
    LOG.error("Failed", exc_info=raising(ValueError(text)))
    group = ExceptionGroup(text, [raising(OSError(text)), raising(KeyError(text))])
    LOG.error("Failed", exc_info=raising(group))
    found = lines()
    assert len(found) == 2
    assert all("Traceback" in line for line in found)
    assert "ValueError" in found[0]


@each_text
def test_what_libraries_log_goes_the_same_way(text: str, lines: Lines) -> None:
    FOREIGN.warning("refused: %s", text)
    FOREIGN.error(text)
    FOREIGN.error("failed", exc_info=raising(ConnectionError(text)))
    found = lines()
    assert len(found) == 3
    assert all("somebody.else" in line for line in found)


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()])
def test_a_library_that_logs_wrong_arguments_is_heard_all_the_same(
    formatter: logging.Formatter,
) -> None:
    record = logging.LogRecord("other", logging.ERROR, "", 0, "count %d\n", ("x",), None)
    line = formatter.format(record)
    assert line.isprintable()
    assert "count %d\\n" in line


def test_the_chatter_of_libraries_stays_out(lines: Lines) -> None:
    FOREIGN.info("GET /socket.io/?token=secret")
    logging.getLogger("asyncio").debug("polling")
    LOG.debug("ours")
    (line,) = lines()
    assert "ours" in line


@each_text
def test_what_python_says_by_itself_goes_the_same_way(text: str, lines: Lines) -> None:
    def fail() -> None:
        raise ValueError(text)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)  # pytest records warnings by the same means
        warnings.warn(text, stacklevel=1)
    found = lines()
    assert len(found) == 2
    assert "ValueError" in found[0]


def test_values_that_are_no_json_cost_their_field_alone(lines: Lines) -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    circle: dict[str, Any] = {}
    circle["itself"] = circle
    odd = (float("nan"), float("inf"), 10**5_000, {(1, 2): 3}, deep, circle, Broken(), b"\n", {1})
    for value in odd:
        LOG.info("Odd", value=value, container_id="abc123def456")
    found = lines()
    assert len(found) == len(odd)
    assert all("abc123def456" in line for line in found)


def test_a_long_value_says_how_long_it_was(lines: Lines) -> None:
    LOG.info("Long", text="x" * 100_000, container_id="abc123def456")
    (line,) = lines()
    assert "... (100000 characters)" in line
    assert "abc123def456" in line


def test_fields_of_an_event_cannot_pose_as_the_records_own(
    log_format: LogFormat, lines: Lines
) -> None:
    LOG.error("Failed", level="info", logger="other", timestamp="never")
    (line,) = lines()
    assert '"level": "error"' in line if log_format == "json" else line.startswith("[ERROR] ")
    assert "never" not in line or log_format == "console"
