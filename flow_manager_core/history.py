"""The feed of activities as it stands in the journal, for those who ask about the past.

Times are those of the host's clock when an event was told; numbers are in the order of the telling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import anyio
from anyio import to_thread
from attrs import frozen

from flow_manager_core.activities import MESSAGE_RECEIVED, received
from flow_manager_core.event_log import LoggedEvent, events_of
from flow_manager_core.event_walk import EventWalk
from flow_manager_core.events import ActivityLogged, MessageReceived
from flow_manager_core.history_requests import HistoryCursor
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.jsontext import dumps

#: Bytes of lines in one answer.
ANSWER_SIZE = 1024 * 1024
#: Bytes that are read through on the event loop; more go to a thread.
QUICK = 64 * 1024
#: What a container begins with, in the feed.
BEGINNINGS = frozenset({"container_created", "container_restored"})


#: The beginning of an activity's line: what a program has said cannot stand there.
_ACTIVITY = re.compile(
    rb'\{"seq":[0-9]+,"name":"(%b|%b)"'
    % (ActivityLogged.name.encode(), MessageReceived.name.encode())
)


@frozen
class Activity:
    """A line of the feed, as it was told.

    Args:
        container_id: the full id.
        at: seconds since the epoch.
        body: what clients got, without ``seq`` and ``epoch``.
        size: bytes of its line.
    """

    seq: int
    container_id: str
    at: float
    body: Mapping[str, Any]
    size: int


@frozen(kw_only=True)
class Wanted:
    """Which activities.

    Args:
        container: the beginning of the container's full id; empty for all.
        kinds: activity types; empty for all.
        named: only those whose details have this name.
        since, until: when they were told, both included.
    """

    container: str = ""
    kinds: frozenset[str] = frozenset()
    named: str = ""
    since: datetime | None = None
    until: datetime | None = None
    newest_first: bool = False

    @property
    def holding(self) -> bytes:
        """Bytes that every such line has."""
        if self.container:
            return b'"container":' + dumps(self.container)[:-1]
        if self.named:
            return b'"name":' + dumps(self.named)
        if len(self.kinds) == 1:
            return _kind(*self.kinds)
        return b'"name":'

    @property
    def beginning(self) -> datetime | None:
        """The time at which to begin to read."""
        return self.until if self.newest_first else self.since

    def before(self, event: Activity) -> bool:
        """Whether it comes before the first that is wanted, by its time."""
        return self._late(event) if self.newest_first else self._early(event)

    def beyond(self, event: Activity) -> bool:
        """Whether it comes after the last that is wanted."""
        return self._early(event) if self.newest_first else self._late(event)

    def _early(self, event: Activity) -> bool:
        return self.since is not None and event.at < self.since.timestamp()

    def _late(self, event: Activity) -> bool:
        return self.until is not None and event.at > self.until.timestamp()

    def has(self, event: LoggedEvent, body: Mapping[str, Any]) -> bool:
        """Whether this activity is one of them, whenever it was told."""
        if not event.container_id.startswith(self.container):
            return False
        if self.named and body["details"].get("name") != self.named:
            return False
        return not self.kinds or body["activity_type"] in self.kinds

    def among(self, pages: Sequence[bytes]) -> list[Activity]:
        """Those that are in some pages, in the order that is asked for."""
        holding, kinds = self.holding, [_kind(kind) for kind in self.kinds]
        found: list[Activity] = []
        for page in pages:
            lines = page.split(b"\n")
            if self.newest_first:
                lines.reverse()
            for line in lines:
                # Most are others': they are not worth being read.
                if holding in line and _ACTIVITY.match(line) and _has_one(kinds, line):
                    found += self._read(line)
        return found

    def _read(self, line: bytes) -> Iterator[Activity]:
        for event in events_of(line):
            body = _line_of(event)
            if self.has(event, body):
                yield Activity(event.seq, event.container_id, event.at, body, len(line))


def _has_one(texts: Sequence[bytes], line: bytes) -> bool:
    return not texts or any(text in line for text in texts)


def _kind(kind: str) -> bytes:
    if kind == MESSAGE_RECEIVED:
        return b'"name":' + dumps(MessageReceived.name)
    return b'"activity_type":' + dumps(kind)


def _line_of(event: LoggedEvent) -> Mapping[str, Any]:
    """A line of the feed; that of a message is not kept, as the message is."""
    body = event.body
    if event.name != MessageReceived.name:
        return body
    kind, told, details = received(body["message"]["command"])
    told_of = {"activity_type": kind, "message": told, "details": details}
    return {"container_id": body["container_id"], **told_of, "timestamp": body["timestamp"]}


@frozen
class HistoryPage:
    """Some activities, and where to go on; ``None``: there are no more."""

    events: Sequence[Activity]
    next: HistoryCursor | None


class _Page:
    """What was found for one answer; the first `skip` are passed over."""

    def __init__(self, limit: int, skip: int) -> None:
        self.events: list[Activity] = []
        self.skip = skip
        self._limit = limit
        self._size = 0

    def take(self, event: Activity) -> bool:
        """Take an event, or tell that it is one too many."""
        if self.skip:
            self.skip -= 1
            return True
        self._size += event.size
        if len(self.events) == self._limit or (self.events and self._size > ANSWER_SIZE):
            return False
        self.events.append(event)
        return True


class History:
    """Reads activities back, a page at a time."""

    def __init__(self, journal: JournalWriter) -> None:
        self._writer = journal
        # One reader at a time, so that history takes no thread from others.
        self._limiter = anyio.CapacityLimiter(1)

    async def page(
        self, wanted: Wanted, limit: int, offset: int = 0, cursor: HistoryCursor | None = None
    ) -> HistoryPage:
        """Read at most `limit` activities, fewer where that is much work already.

        Args:
            offset: so many are passed over.
            cursor: the `HistoryPage.next` of the page before.

        Raises:
            SystemFault: the journal cannot be read.
        """
        bound, skip = (cursor.seq, cursor.skip) if cursor else (None, offset)
        walk = EventWalk(
            self._writer.journal,
            self._writer.last,
            bound,
            holding=wanted.holding,
            newest_first=wanted.newest_first,
        )
        if bound is None and wanted.beginning is not None:
            await walk.begin_at(wanted.beginning)
        return await self._gathered(walk, wanted, _Page(limit, skip))

    async def _gathered(self, walk: EventWalk, wanted: Wanted, page: _Page) -> HistoryPage:
        ahead = _side(walk.bound, wanted)
        while (pages := await walk.step()) is not None:
            for event in await self._among(wanted, pages):
                if not ahead(event.seq) or wanted.before(event):
                    continue
                if wanted.beyond(event):
                    return HistoryPage(page.events, None)
                if not page.take(event):
                    return HistoryPage(page.events, HistoryCursor(page.events[-1].seq))
        following = None if walk.bound is None else HistoryCursor(walk.bound, page.skip)
        return HistoryPage(page.events, following)

    async def _among(self, wanted: Wanted, pages: Sequence[bytes]) -> Sequence[Activity]:
        if sum(map(len, pages)) <= QUICK:
            return wanted.among(pages)
        return await to_thread.run_sync(wanted.among, pages, limiter=self._limiter)

    async def last_named(self, name: str) -> str | None:
        """The full id of the container that was last made under a name, if that is not long ago.

        Raises:
            SystemFault: the journal cannot be read.
        """
        page = await self.page(Wanted(named=name, kinds=BEGINNINGS, newest_first=True), 1)
        return page.events[0].container_id if page.events else None


def _side(bound: int | None, wanted: Wanted) -> Callable[[int], bool]:
    """Whether a number lies beyond the bound, as the reading goes."""
    if bound is None:
        return lambda _seq: True
    return bound.__gt__ if wanted.newest_first else bound.__lt__
