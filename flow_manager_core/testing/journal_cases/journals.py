"""What the cases build on: the journal in question, opened in a folder."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import ClassVar

import pytest

from flow_manager_core.journals import Journal, Table
from flow_manager_core.log import get_log
from flow_manager_core.providers import JournalProvider, ProviderContext
from flow_manager_core.settings import Settings

#: Two tables that a case takes; to a journal all are alike.
ONE, OTHER = Table.CONTAINERS, Table.FACTS


class Journals:
    """The hooks of the suite. Set the attributes; override a method where they do not suffice."""

    pytestmark: ClassVar[pytest.MarkDecorator] = pytest.mark.anyio

    #: The journal's provider record.
    provider: ClassVar[JournalProvider]
    #: The provider's settings; ``None``: its settings class with its defaults.
    settings: ClassVar[object] = None

    def open(self, folder: Path) -> AbstractAsyncContextManager[Journal]:
        """Open the journal of a folder."""
        chosen = self.provider.settings_class() if self.settings is None else self.settings
        log = get_log(self.provider.name)
        context = ProviderContext(settings=chosen, core=Settings(), log=log)
        return self.provider.factory(context, folder)


async def everything(journal: Journal, table: Table = ONE) -> dict[str, bytes]:
    """All that a table holds, in the order in which it is read."""
    return dict(await journal.read(table))
