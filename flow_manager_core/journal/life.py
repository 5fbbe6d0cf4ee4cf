"""Opens the chosen journal for one life of the manager, with the folder that belongs to it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from attrs import frozen

from flow_manager_core.instance_folder import Workplace, instance_folder
from flow_manager_core.journals import Journal
from flow_manager_core.past import EPOCH, Past, fact_entry, read_past
from flow_manager_core.providers import JournalProvider, ProviderContext
from flow_manager_core.settings import Settings


@frozen
class JournalLife:
    """A journal that is open.

    Args:
        epoch: its name, which was made with it.
        past: what the last life left in it.
        workplace: where operations have room.
    """

    journal: Journal
    epoch: str
    past: Past
    workplace: Workplace


@asynccontextmanager
async def open_journal(
    settings: Settings, provider: JournalProvider, context: ProviderContext
) -> AsyncIterator[JournalLife]:
    """Open it.

    Raises:
        ConfigurationError: another manager has it, or it cannot be read.
    """
    with ExitStack() as stack:
        folder = _folder(stack, settings, provider)
        async with provider.factory(context, folder) as journal:
            past = await read_past(journal)
            epoch = past.facts.get(EPOCH) or secrets.token_hex(8)
            if EPOCH not in past.facts:
                await journal.commit([fact_entry(EPOCH, epoch)])
            yield JournalLife(journal, epoch, past, Workplace(folder / "work"))


def _folder(stack: ExitStack, settings: Settings, provider: JournalProvider) -> Path:
    if provider.lasting:
        return stack.enter_context(instance_folder(settings))
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flow-manager-")))
