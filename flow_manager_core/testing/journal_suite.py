"""The contract of `Journal`, as tests that any journal can run on itself.

A subclass names the provider::

    class TestMyJournal(JournalSuite):
        provider = MY_PROVIDER          # the record that the plugin's hook returns

pytest collects it like any test class and runs it with anyio's plugin, on asyncio and trio where
the fixture `anyio_backend` says so. A journal that is no `lasting` one is expected to be empty each
time it is opened.
"""

from __future__ import annotations

from flow_manager_core.testing.journal_cases.changes import ChangeCases
from flow_manager_core.testing.journal_cases.lasting import LastingCases
from flow_manager_core.testing.journal_cases.reading import ReadingCases


class JournalSuite(ChangeCases, ReadingCases, LastingCases):
    """Every case of the contract; see the module's text for how to subclass."""
