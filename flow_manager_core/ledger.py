"""The book of desired states: what is written down before it is done."""

from __future__ import annotations

import time
from typing import Any

import anyio
from attrs import evolve

from flow_manager_core.desired import Desired, Wish
from flow_manager_core.errors import SystemFault
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import Drop, Table
from flow_manager_core.log import get_log
from flow_manager_core.models import Container
from flow_manager_core.past import Past, desired_entry, fact_entry
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.terms import Terms

#: The fact that names the engine's life in which the manager last knew how things stood.
LIFE = "engine_life"


class Ledger:
    """Changes desired states, on disk first.

    `strays` are those whose container is not in the registry: a create that was interrupted or
    given up, or a container that went away while the manager was not there.

    Args:
        past: what the last life left.
    """

    def __init__(self, journal: JournalWriter, past: Past) -> None:
        self._journal = journal
        self._log = get_log("ledger")
        self.strays: dict[str, Desired] = dict(past.desired)
        self.life: str = past.facts.get(LIFE, "")

    async def note(self, record: ContainerRecord, **changes: Any) -> None:
        """Change a container's desired state; what others change at the same time stays.

        Raises:
            SystemFault: it cannot be recorded; it is as before.
        """
        async with record.note_lock:
            wanted = evolve(
                record.desired,
                **changes,
                uptimes=tuple(record.uptimes),
                ends=tuple(_wall(end) for end in record.ends),
            )
            if _same(wanted, record.desired):
                return
            await self._journal.write(desired_entry(wanted), urgent=wanted.wish is not Wish.UP)
            record.desired = wanted

    async def note_at_least_here(self, record: ContainerRecord, **changes: Any) -> None:
        """Change it in this life, whether or not the disk takes it: it is so already."""
        try:
            await self.note(record, **changes)
        except SystemFault as error:
            self._log.error(
                "A change is known to this life of the manager alone",
                container_id=record.short_id,
                error=error.message,
            )
            record.desired = evolve(record.desired, **changes)

    async def forget(self, key: str) -> None:
        """Strike an entry out; a disk that refuses leaves it to be found as a stray."""
        self.strays.pop(key, None)
        try:
            await self._journal.write(Drop(Table.CONTAINERS, key), urgent=True)
        except SystemFault as error:
            self._log.error("An entry could not be struck out", error=error.message)

    async def strike(self, record: ContainerRecord) -> None:
        """Strike out a create that the engine refused."""
        await self.forget(record.desired.key)
        record.desired = Desired(key=record.desired.key, name=record.name)

    async def give_up(self, record: ContainerRecord) -> None:
        """A create came to an end that nobody knows: what appears of it is to be removed."""
        await self.note_at_least_here(record, wish=Wish.GONE)
        self.strays[record.desired.key] = record.desired

    async def remember_life(self, life: str) -> None:
        """Note the engine's life, once all that happened before is known."""
        if life == self.life:
            return
        self.life = life
        try:
            await self._journal.write(fact_entry(LIFE, life))
        except SystemFault as error:
            self._log.error("The engine's life could not be noted", error=error.message)

    def entry_of(self, container: Container, name: str, terms: Terms) -> Desired:
        """The entry of a container that is taken in; made from what is seen if there is none."""
        key = terms.birth or container.id
        known = self.strays.pop(key, None)
        if known is not None:
            return evolve(known, container_id=container.id)
        alive = container.state.alive
        return Desired(
            key=key,
            name=name,
            container_id=container.id,
            wish=Wish.UP if alive else Wish.DOWN,
            ended_run=None if alive else container.started_at,
        )


def _same(one: Desired, other: Desired) -> bool:
    """Whether nothing but the reading of the clock differs."""
    return evolve(one, ends=other.ends) == other and len(one.ends) == len(other.ends)


def _wall(monotonic: float) -> float:
    return time.time() - (anyio.current_time() - monotonic)


def monotonic_ends(desired: Desired) -> list[float]:
    """The ends on this life's monotonic clock."""
    offset = anyio.current_time() - time.time()
    return [end + offset for end in desired.ends]
