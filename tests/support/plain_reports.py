"""Reports of tests as text that a worker can send: what a test logs or compares may be none.

A lone surrogate in a captured line cannot be encoded, and would take the whole worker down.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


def plain(text: str) -> str:
    """A text in which what cannot be encoded is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Clean what was captured, and the failure's own words where they need it."""
    report: pytest.TestReport = yield  # type: ignore[misc]
    report.sections = [(plain(name), plain(text)) for name, text in report.sections]
    words = str(report.longrepr or "")
    if words != plain(words):
        report.longrepr = plain(words)
    return report  # type: ignore[return-value]
