"""What a container is meant to be, written down by several at once."""

from __future__ import annotations

import anyio
import pytest

from flow_manager_core.desired import Wish
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.ledger import Ledger
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.past import Past, read_past
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.terms import Terms

pytestmark = pytest.mark.anyio


async def test_changes_that_are_written_down_at_the_same_time_all_stay() -> None:
    journal = MemoryJournal()
    writer = JournalWriter(journal, lambda _: None)
    record = ContainerRecord("one", Terms(birth="1"))
    ledger = Ledger(writer, Past({}, {}))
    async with writer.running(), anyio.create_task_group() as group:
        for changes in ({"restarts": 3}, {"ended_asked": True}, {"wish": Wish.DOWN}):

            async def note(changes: dict[str, object] = changes) -> None:
                await ledger.note(record, **changes)

            group.start_soon(note)
    [kept] = (await read_past(journal)).desired.values()
    assert (kept.restarts, kept.ended_asked, kept.wish) == (3, True, Wish.DOWN)
    assert record.desired == kept
