"""The one way into the journal: many writers' changes in one commit, in the order they came.

While a commit is under way, what comes gathers, and is the next one: a group. Server events go the
same way. They get their numbers there, are on disk with the changes that they tell of, and are
published after that, so nobody ever heard of what the journal does not know; see `committing` for
a journal that refuses.

The overflow rule: nothing is dropped. Whoever waits for a write waits longer; what comes from flows
is held back at its source while more than `CROWDED` events wait, or too many bytes (`relief`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from flow_manager_core.errors import SystemFault
from flow_manager_core.event_log import Identify
from flow_manager_core.events import Event
from flow_manager_core.journal.committing import Committer, Entry
from flow_manager_core.journals import Change, Journal
from flow_manager_core.jsontext import dumps
from flow_manager_core.log import get_log
from flow_manager_core.metrics import Metrics
from flow_manager_core.selection import Identity
from flow_manager_core.wire import event_body

#: Entries of one commit.
GROUP = 256
#: Events that wait, and bytes of their bodies; with more, the flows are held back.
CROWDED = 2000
CROWDED_BYTES = 8 * 1024 * 1024
#: Seconds between two attempts while the journal refuses and there is nothing to write.
PROBE = 2.0
#: Events that may gather do so as long as the last commit took, so that commits take half of the
#: time at most, but no more seconds than this. One that may not gather takes them along at once.
PACE = 0.02
#: Seconds that are not worth waiting.
INSTANT = 0.0005
#: Seconds at the end for what waits.
LAST_COMMITS = 5.0
#: What is said to who comes after the end.
CLOSED = "The journal is closed"


class JournalWriter:
    """Commits in groups; `run` is the one task that does it.

    Args:
        publish, epoch, last, identify: see `Committer`.
        metrics: counts the commits; left out: for nobody.
    """

    def __init__(
        self,
        journal: Journal,
        publish: Callable[[Sequence[Event]], None],
        *,
        epoch: str = "",
        last: int = 0,
        metrics: Metrics | None = None,
        identify: Identify = Identity,
    ) -> None:
        self.journal = journal
        self.epoch = epoch
        self._publish = publish
        self._committer = Committer(journal, publish, epoch, last, metrics or Metrics(), identify)
        self._waiting: deque[Entry] = deque()
        self._arrived = anyio.Event()
        self._hurry = anyio.Event()
        #: Whether something waits that is not to wait for others.
        self._urged = False
        self._eased = anyio.Event()
        self._events = self._size = 0
        self._busy = False
        self._ended = False
        self._rested = 0.0

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
        entry = await self._settled(changes, events, urgent=urgent)
        if entry.error is not None:
            raise SystemFault(
                entry.error.message, retryable=entry.error.retryable, hint=entry.error.hint
            ) from entry.error

    def tell(self, *events: Event) -> None:
        """Have events kept and then published; nobody waits for it."""
        idle = not self._busy and not self._waiting
        if self._ended or (idle and not any(event.kept for event in events)):
            self._publish(events)
            return
        self._add(Entry(events=events, bodies=_bodies_of(events)))
        for event in events:
            if event.kept and not event.gathers:
                self._urge()
                break

    async def flushed(self) -> None:
        """Wait until all that came before is settled."""
        if self._busy or self._waiting:
            await self._settled()

    @property
    def last(self) -> int:
        """The number of the last event that was kept, and published."""
        return self._committer.last

    @property
    def logged(self) -> int:
        """Bytes of events that were kept in this life."""
        return self._committer.logged

    @property
    def refuses(self) -> str:
        """Why the journal takes nothing at present; empty while it does."""
        return self._committer.refusal.reason

    @property
    def crowded(self) -> bool:
        """Whether so much waits that flows must."""
        return self._events > CROWDED or self._size > CROWDED_BYTES

    async def relief(self) -> None:
        """Wait until it is no longer crowded."""
        while self.crowded:
            await self._eased.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Commit for as long as the block lasts, and in the end what still waits."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.run)
            try:
                yield
            finally:
                with anyio.move_on_after(LAST_COMMITS, shield=True):
                    await self.flushed()
                group.cancel_scope.cancel()

    async def run(self) -> None:
        """Commit until it is cancelled; nothing is written after that."""
        try:
            while True:
                await self._turn()
        finally:
            self._end()

    async def _turn(self) -> None:
        with anyio.move_on_after(PROBE if self.refuses else float("inf")):
            while not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
        if self._waiting:
            await self._gather()
            await self._commit_group()
        else:
            await self._committer.probe()

    def _end(self) -> None:
        """Refuse what waits, and what comes."""
        self._ended = True
        left = list(self._waiting)
        self._waiting.clear()
        for entry in left:
            entry.error = SystemFault(CLOSED)
        # Who waits for a write is told; of events that are only told, nobody else knows.
        if lost := sum(len(entry.events) for entry in left if entry.done is None):
            get_log("journal").error("The journal closed before all events were kept", count=lost)
        self._settle(left)

    async def _settled(
        self, changes: Sequence[Change] = (), events: Sequence[Event] = (), *, urgent: bool = False
    ) -> Entry:
        done = anyio.Event()
        entry = Entry(changes, events, urgent, done=done)
        if self._ended:
            entry.error = SystemFault(CLOSED)
            return entry
        self._add(entry)
        self._urge()
        await done.wait()
        return entry

    def _add(self, entry: Entry) -> None:
        self._waiting.append(entry)
        self._events += len(entry.events)
        self._size += entry.size
        self._arrived.set()
        if len(self._waiting) >= GROUP or self._size > CROWDED_BYTES:
            self._urge()

    def _urge(self) -> None:
        self._urged = True
        self._hurry.set()

    async def _gather(self) -> None:
        """Let events come together that may."""
        rest = min(PACE, self._committer.took) - (time.perf_counter() - self._rested)
        if self._urged or rest < INSTANT:
            return
        self._hurry = anyio.Event()
        with anyio.move_on_after(rest):
            await self._hurry.wait()

    async def _commit_group(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
        # What is left over, of a crowd, does not wait either.
        self._urged = bool(self._waiting)
        self._busy = True
        try:
            await self._committer.commit(group)
        except BaseException:
            # Nobody may take what became of these for granted.
            for entry in group:
                entry.error = SystemFault("The journal failed")
            raise
        finally:
            self._busy = False
            self._rested = time.perf_counter()
            self._settle(group)

    def _settle(self, group: Sequence[Entry]) -> None:
        for entry in group:
            self._events -= len(entry.events)
            self._size -= entry.size
            if entry.done:
                entry.done.set()
        if not self.crowded:
            self._eased.set()
            self._eased = anyio.Event()


def _bodies_of(events: Sequence[Event]) -> Sequence[bytes]:
    """The events as JSON: who tells of much pays for it, and commits are short.

    What cannot be written is left to the commit, which says so.
    """
    try:
        return [dumps(event_body(event)) if event.kept else b"" for event in events]
    except (TypeError, ValueError, RecursionError):
        return ()
