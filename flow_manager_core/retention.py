"""Drops what the journal need not keep any longer, in small steps beside everything else.

What waits is never dropped: desired states, facts, and messages are not looked at; of those whose
way has ended, their own part keeps so many. Operations are JSON objects that say when they ended
(``ended``, seconds since the epoch); those that do not are not over, and stay.
"""

from __future__ import annotations

import time

import anyio
from attrs import frozen

from flow_manager_core.errors import SystemFault
from flow_manager_core.event_log import events_of
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import Drop, DropThrough, Table
from flow_manager_core.jsontext import loads
from flow_manager_core.log import get_log
from flow_manager_core.settings import Settings

#: Seconds between two looks at how much was written.
GLANCE = 5.0
#: Seconds between two walks through everything.
WALK = 600.0
#: A walk begins early when this part of what may be kept was written since the last one.
MUCH = 0.2
#: Entries that are read, and dropped, in one step; a page of events is one.
STEP = 64
#: Bytes and seconds of a journal that takes the manager's own memory.
MEMORY_BYTES, MEMORY_AGE = 8 * 1024**2, 3600.0


@frozen
class Keeping:
    """How long, in seconds, and how much, in bytes of a table, is kept."""

    age: float
    size: int


def keeping_of(settings: Settings, *, lasting: bool) -> Keeping:
    """What the settings say; at most a little in a journal that does not outlive the manager."""
    age, size = settings.journal_keep_age, settings.journal_keep_bytes
    return Keeping(age, size) if lasting else Keeping(min(age, MEMORY_AGE), min(size, MEMORY_BYTES))


class Pruner:
    """Drops what is too old or too much; `run` does so for as long as the manager lives."""

    def __init__(self, writer: JournalWriter, keeping: Keeping) -> None:
        self._writer = writer
        self._keeping = keeping
        self._log = get_log("journal")

    async def run(self) -> None:
        """Walk through everything now and then, and sooner where much was written."""
        while True:
            logged = self._writer.logged
            try:
                await self.prune()
            except SystemFault as error:
                self._log.warning("Nothing is dropped from the journal", error=error.message)
            with anyio.move_on_after(WALK):
                await self._much_since(logged)

    async def _much_since(self, logged: int) -> None:
        while True:
            await anyio.sleep(GLANCE)
            if self._writer.logged - logged > MUCH * self._keeping.size:
                return

    async def prune(self) -> None:
        """Walk through everything once.

        Raises:
            SystemFault: the journal refuses; what was dropped before stays so.
        """
        await self._prune_events()
        await self._prune_operations()

    async def _prune_events(self) -> None:
        """Drop from the old end; the newest page stays, for it tells the last number."""
        excess = await self._writer.journal.size(Table.EVENTS) - self._keeping.size
        oldest = time.time() - self._keeping.age
        while True:
            candidates = (await self._writer.journal.read(Table.EVENTS, limit=STEP + 1))[:-1]
            last = ""
            for key, value in candidates:
                if excess <= 0 and _told_at(value) >= oldest:
                    break
                last, excess = key, excess - len(value)
            if not last:
                return
            await self._writer.write(DropThrough(Table.EVENTS, last), urgent=True)

    async def _prune_operations(self) -> None:
        oldest = time.time() - self._keeping.age
        journal, after = self._writer.journal, ""
        while entries := await journal.read(Table.OPERATIONS, after=after, limit=STEP):
            after = entries[-1][0]
            old = [key for key, value in entries if _ended_at(value) < oldest]
            if old:
                await self._writer.write(*(Drop(Table.OPERATIONS, k) for k in old), urgent=True)


def _told_at(page: bytes) -> float:
    """When the last event of a page was told."""
    *_, last = events_of(page)
    return last.at


def _ended_at(value: bytes) -> float:
    """When an operation was over; never, where it does not say."""
    try:
        ended = loads(value).get("ended")
    except (ValueError, AttributeError):
        return float("inf")
    return float(ended) if isinstance(ended, (int, float)) else float("inf")
