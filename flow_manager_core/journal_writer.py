"""The one way into the journal: many writers' changes in one commit, in the order they came.

While a commit is under way, what comes gathers, and is the next one: a group. Server events go the
same way. They get their numbers here, are on disk with the changes that they tell of, and are
published after that, so nobody ever heard of what the journal does not know.

The overflow rule: nothing is dropped. Whoever waits for a write waits longer; what comes from flows
is held back at its source while more than `CROWDED` events wait (`relief`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import anyio
from attrs import define, evolve, field

from flow_manager_core.errors import FlowManagerError, SystemFault
from flow_manager_core.event_log import Identify, page_of
from flow_manager_core.events import Event
from flow_manager_core.journals import Change, Journal
from flow_manager_core.jsontext import dumps
from flow_manager_core.log import get_log
from flow_manager_core.selection import Identity
from flow_manager_core.wire import event_body

#: Entries of one commit.
GROUP = 512
#: Events that wait; with more, the flows are held back.
CROWDED = 2000


@define(eq=False)
class _Entry:
    changes: Sequence[Change] = ()
    events: Sequence[Event] = ()
    urgent: bool = False
    awaited: bool = False
    done: anyio.Event = field(factory=anyio.Event)
    error: FlowManagerError | None = None


class JournalWriter:
    """Commits in groups; `run` is the one task that does it.

    Args:
        publish: takes events in their order, each once it is kept.
        epoch: names the journal in whose order the events are numbered.
        last: the number of the last event that it has.
        identify: says what filters must know of a container, from its full id.
    """

    def __init__(
        self,
        journal: Journal,
        publish: Callable[[Sequence[Event]], None],
        *,
        epoch: str = "",
        last: int = 0,
        identify: Identify = Identity,
    ) -> None:
        self.journal = journal
        self.epoch = epoch
        #: The number of the last event that was kept, and published.
        self.last: int = last
        self._publish = publish
        self._identify = identify
        self._waiting: deque[_Entry] = deque()
        self._arrived = anyio.Event()
        self._eased = anyio.Event()
        self._events = 0
        self._busy = False
        self._log = get_log("journal")

    async def write(
        self, *changes: Change, events: Sequence[Event] = (), urgent: bool = False
    ) -> None:
        """Have changes made, with the events that tell of them; both last once this returns.

        Whoever is cancelled meanwhile does not know whether they were made.

        Args:
            urgent: they end or remove something; a full disk has room for that.

        Raises:
            SystemFault: neither is kept, and the events are not told.
        """
        entry = _Entry(changes, events, urgent, awaited=True)
        self._add(entry)
        await entry.done.wait()
        if entry.error is not None:
            raise SystemFault(
                entry.error.message, retryable=entry.error.retryable, hint=entry.error.hint
            ) from entry.error

    def tell(self, *events: Event) -> None:
        """Have events kept and then published; nobody waits for it."""
        if not self._busy and not self._waiting and not any(event.kept for event in events):
            self._publish(events)
            return
        self._add(_Entry(events=events))

    async def flushed(self) -> None:
        """Wait until all that came before is settled."""
        if self._busy or self._waiting:
            entry = _Entry(awaited=True)
            self._add(entry)
            await entry.done.wait()

    @property
    def crowded(self) -> bool:
        """Whether so many events wait that flows must."""
        return self._events > CROWDED

    async def relief(self) -> None:
        """Wait until it is no longer crowded."""
        while self.crowded:
            self._eased = anyio.Event()
            await self._eased.wait()

    async def run(self) -> None:
        """Commit for as long as the manager lives."""
        while True:
            while not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            await self._commit_group()

    async def drain(self) -> None:
        """Commit what waits; for the end, when `run` no longer does."""
        while self._waiting:
            await self._commit_group()

    def _add(self, entry: _Entry) -> None:
        self._waiting.append(entry)
        self._events += len(entry.events)
        self._arrived.set()

    async def _commit_group(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
        self._busy = True
        try:
            try:
                await self._commit(group)
            except FlowManagerError:
                # One by one: what ends something may find room where the rest does not.
                for entry in group:
                    await self._commit_alone(entry)
        finally:
            self._busy = False
            self._settle(group)

    async def _commit_alone(self, entry: _Entry) -> None:
        try:
            await self._commit([entry])
        except FlowManagerError as error:
            entry.error = error
            self._log.error("The journal refuses", error=error.message)
            if not entry.awaited:
                self._publish(entry.events)

    async def _commit(self, group: Sequence[_Entry]) -> None:
        told: list[Event] = []
        kept: list[Event] = []
        for event in (event for entry in group for event in entry.events):
            if event.kept:
                event = self._numbered(event, self.last + len(kept) + 1)  # noqa: PLW2901
                kept.append(event)
            told.append(event)
        changes = [change for entry in group for change in entry.changes]
        if kept:
            changes.append(page_of(kept, self._identify))
        if changes:
            with anyio.CancelScope(shield=True):
                await self.journal.commit(changes, urgent=all(e.urgent for e in group))
        self.last += len(kept)
        self._publish(told)

    def _numbered(self, event: Event, seq: int) -> Event:
        """An event with its number, and its body as both the page and the wire have it."""
        return evolve(event, seq=seq, epoch=self.epoch, encoded=dumps(event_body(event)))

    def _settle(self, group: Sequence[_Entry]) -> None:
        for entry in group:
            self._events -= len(entry.events)
            entry.done.set()
        if not self.crowded:
            self._eased.set()
