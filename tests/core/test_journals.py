"""The core's own journals do what every journal must."""

from __future__ import annotations

import pytest

from flow_manager_core.builtin import flow_manager_journals
from flow_manager_core.testing.journal_suite import JournalSuite

PROVIDERS = {provider.name: provider for provider in flow_manager_journals()}


class TestSqliteJournal(JournalSuite):
    provider = PROVIDERS["sqlite"]


class TestMemoryJournal(JournalSuite):
    provider = PROVIDERS["memory"]


@pytest.mark.parametrize("name", PROVIDERS)
def test_it_says_whether_what_it_keeps_lasts(name: str) -> None:
    assert PROVIDERS[name].lasting is (name == "sqlite")
