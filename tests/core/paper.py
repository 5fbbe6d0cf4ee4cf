"""A journal that all managers of a test share, and that tells what the book of operations gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from flow_manager_core.booked import Booked
from flow_manager_core.errors import SystemFault
from flow_manager_core.journals import Change, Put, Table
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.services import Services
from tests.core.test_manager import House


class Paper(MemoryJournal):
    """The journal of all managers of a test: tells what the book gets, and refuses when told to.

    Args:
        seen: gets a line for each entry of the book.
    """

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen
        self._keep = super().commit
        #: How many entries of the book it still takes; the rest needs its reserve.
        self.room: float = float("inf")
        self.reserve = False

    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        booked = [c for c in changes if isinstance(c, Put) and c.table is Table.OPERATIONS]
        if booked and self.room <= 0 and not (urgent and self.reserve):
            raise SystemFault("The disk is full", retryable=True)
        self.room -= bool(booked)
        await self._keep(changes, urgent=urgent)
        self._seen += [f"book: {Booked.read(put.value).state}" for put in booked]


def laid_under_all(seen: list[str], monkeypatch: pytest.MonkeyPatch) -> Paper:
    """Have every journal in memory be this one."""
    made = Paper(seen)

    def init(journal: MemoryJournal) -> None:
        journal._tables = made._tables

    async def commit(
        _journal: MemoryJournal, changes: Sequence[Change], *, urgent: bool = False
    ) -> None:
        await made.commit(changes, urgent=urgent)

    monkeypatch.setattr(MemoryJournal, "__init__", init)
    monkeypatch.setattr(MemoryJournal, "commit", commit)
    return made


def services(h: House) -> Services:
    found = h.manager._services
    assert found is not None
    return found


async def operation(h: House, request_id: str) -> dict[str, Any]:
    return await h.ask("get_operation", request_id=request_id)
