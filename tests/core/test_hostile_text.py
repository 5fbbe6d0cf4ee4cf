"""Whatever a flow says, a line of the log stays one line, and shows what was said."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flow_manager_core.bus import EventBus
from flow_manager_core.errors import ChannelError
from flow_manager_core.events import now
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.logs import ConsoleFormatter, JsonFormatter
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import Message
from flow_manager_core.reporter import ChannelReporter, Reporter
from flow_manager_core.wire import standard_format

pytestmark = pytest.mark.anyio
TEXTS = (
    "\n[ERROR] forged",
    "\r\x1b[2J\x1b]0;title\x07",
    "\0\x08\x7f\x9b31m",
    "\u2028\u2029\u202e reversed \ufeff",
    "\ud800",
)


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()], ids=type)
@pytest.mark.parametrize("text", TEXTS, ids=ascii)
async def test_what_a_flow_says_is_logged_in_one_line_without_control_characters(
    caplog: pytest.LogCaptureFixture, formatter: logging.Formatter, text: str
) -> None:
    record = cast("Any", SimpleNamespace(id="c" * 64, short_id="c" * 12, notify=lambda: None))
    bus = EventBus()
    journal = JournalWriter(MemoryJournal(), lambda events: bus.publish(*events))
    reporter = Reporter(bus, journal, lambda error: standard_format(error, now()), Metrics())
    channel = ChannelReporter(record, reporter, lambda _: None)
    with caplog.at_level(logging.DEBUG, "flow_manager"):
        await channel.message_arrived(Message(text, {text: [text]}, extra={text: text}))
        channel.bad_frame(ChannelError(f"bad: {text}"), 0)
        channel.channel_down(f"broken: {text}")
    lines = [formatter.format(found) for found in caplog.records]
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
