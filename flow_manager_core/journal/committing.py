"""One commit after the other: events get their numbers, and whoever is refused is told.

Events that the journal refuses are told without a number. What is then missing in the log has an
entry there, in its place, as soon as the journal keeps again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, repeat

import anyio
from attrs import define, evolve, field

from flow_manager_core.errors import FlowManagerError, SystemFault
from flow_manager_core.event_log import Identify, line_of, pages_of
from flow_manager_core.events import Event
from flow_manager_core.journal.refusal import Refusal
from flow_manager_core.journals import Change, Journal, JournalHangs, Put
from flow_manager_core.jsontext import dumps
from flow_manager_core.log import get_log
from flow_manager_core.metrics import Metrics
from flow_manager_core.past import fact_entry
from flow_manager_core.selection import Identity
from flow_manager_core.wire import event_body

#: The fact that is written only to find out whether the journal still refuses.
PROBED = "probed"


@define(eq=False)
class Entry:
    """What one caller wants kept.

    Args:
        urgent: a full disk must have room for it.
        bodies: of its events, as far as they are written as JSON already; else empty.
        done: set once it is settled; ``None``: nobody waits for it.
        error: why it was refused.
    """

    changes: Sequence[Change] = ()
    events: Sequence[Event] = ()
    urgent: bool = False
    bodies: Sequence[bytes] = ()
    done: anyio.Event | None = None
    error: FlowManagerError | None = None

    @property
    def size(self) -> int:
        """Bytes of the bodies."""
        return sum(map(len, self.bodies))


@define
class _Draft:
    """What one commit is to hold, and what is told after it."""

    last: int
    changes: list[Change] = field(factory=list)
    lines: list[bytes] = field(factory=list)
    told: list[Event] = field(factory=list)
    #: Whether there is an entry in it of what is missing before.
    marked: bool = False


class Committer:
    """Commits entries; one call at a time.

    Args:
        publish: takes events in their order, each once it is kept.
        epoch: names the journal in whose order the events are numbered.
        last: the number of the last event that it has.
        metrics: counts the commits.
        identify: says what filters must know of a container, from its full id.
    """

    def __init__(
        self,
        journal: Journal,
        publish: Callable[[Sequence[Event]], None],
        epoch: str,
        last: int,
        metrics: Metrics,
        identify: Identify = Identity,
    ) -> None:
        self.refusal: Refusal = Refusal()
        self.epoch = epoch
        self.last: int = last
        #: Bytes of events that were kept in this life.
        self.logged: int = 0
        #: Seconds that the last commit took.
        self.took: float = 0.0
        self._journal = journal
        self._publish = publish
        self._metrics = metrics
        self._identify = identify
        self._log = get_log("journal")

    async def commit(self, entries: Sequence[Entry]) -> None:
        """Commit them as one, or, where that is refused, what of them is not refused."""
        try:
            await self._commit(entries)
        except JournalHangs as error:
            self._refuse(entries, error)
        except FlowManagerError as error:
            apart = list(_apart(entries))
            if len(apart) == 1:
                self._refuse(entries, error)
                return
            # What ends something may find room where the rest does not.
            for some in apart:
                await self._commit_alone(some)

    async def probe(self) -> None:
        """Find out whether the journal still refuses."""
        try:
            await self._commit([Entry([fact_entry(PROBED, str(int(time.time())))])])
        except FlowManagerError as error:
            self.refusal.began(error.message)

    async def _commit_alone(self, entries: Sequence[Entry]) -> None:
        try:
            await self._commit(entries)
        except FlowManagerError as error:
            self._refuse(entries, error)

    def _refuse(self, entries: Sequence[Entry], error: FlowManagerError) -> None:
        self._metrics.journal_refused()
        self.refusal.began(error.message)
        for entry in entries:
            entry.error = error
            if entry.done is None:
                self.refusal.missed(entry.events)
                self._publish(entry.events)

    async def _commit(self, entries: Sequence[Entry]) -> None:
        draft = self._draft(entries)
        changes = [*draft.changes, *pages_of(draft.lines, draft.last)]
        if changes:
            urgent = all(entry.urgent for entry in entries)
            try:
                await self._keep(changes, len(entries), urgent=urgent)
            except JournalHangs:
                # They may be on the disk, so their numbers are not given again.
                self.last = draft.last
                raise
            if draft.marked:
                self.refusal.told()
            if not urgent:
                self.refusal.over()
        self.last = draft.last
        self.logged += sum(map(len, draft.lines))
        self._publish(draft.told)

    def _draft(self, entries: Sequence[Entry]) -> _Draft:
        draft = _Draft(self.last)
        if missing := self.refusal.entry():
            draft.marked = True
            self._number(draft, missing)
        for entry in entries:
            draft.changes += entry.changes
            self._number(draft, entry.events, entry.bodies)
        return draft

    def _number(self, draft: _Draft, events: Sequence[Event], bodies: Sequence[bytes] = ()) -> None:
        for event, body in zip(events, bodies or repeat(b""), strict=False):
            if not event.kept:
                draft.told.append(event)
                continue
            try:
                numbered = self._numbered(event, draft.last + 1, body)
                line = line_of(numbered, self._identify(event.container_id))
            except (TypeError, ValueError, RecursionError) as error:
                told = "An event is not JSON, and is left out"
                self._log.error(told, name=event.name, error=str(error))
                continue
            draft.last = numbered.seq
            draft.lines.append(line)
            draft.told.append(numbered)

    def _numbered(self, event: Event, seq: int, body: bytes) -> Event:
        """An event with its number, and its body as both the page and the wire have it."""
        encoded = body or dumps(event_body(event))
        return evolve(event, seq=seq, epoch=self.epoch, encoded=encoded)

    async def _keep(self, changes: Sequence[Change], entries: int, *, urgent: bool) -> None:
        began = time.perf_counter()
        try:
            with anyio.CancelScope(shield=True):
                await self._journal.commit(changes, urgent=urgent)
        except FlowManagerError:
            raise
        except Exception as error:
            self._log.exception("The journal failed")
            told = f"The journal failed: {type(error).__name__}"
            raise SystemFault(told, retryable=True) from error
        self.took = time.perf_counter() - began
        size = sum(len(change.value) for change in changes if isinstance(change, Put))
        self._metrics.journal_committed(self.took, entries, size)


def _apart(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Each entry that somebody waits for by itself; neighbours that nobody waits for together."""
    for nobody_waits, some in groupby(entries, key=lambda entry: entry.done is None):
        if nobody_waits:
            yield list(some)
        else:
            yield from ([entry] for entry in some)
