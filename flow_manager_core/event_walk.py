"""Goes through the journal's pages of events, in either direction and in small steps.

A step covers a window of event numbers, so that it costs little however few pages hold what is
looked for. A page is named by the number of its last event; the page before it ends where it
begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from flow_manager_core.journals import Journal, Table, number_key

#: Event numbers of one step, and pages that it reads at most.
WINDOW = 4000
PAGES = 8
#: Event numbers, and bytes of pages, that one walk goes through.
SPAN = 200_000
MOST_READ = 16 * 1024 * 1024


#: When an event was told, in its line; what stands before it there is no text of a program's.
_AT = re.compile(rb'"at":([0-9.eE+-]+)')


class EventWalk:
    """One way through the pages. `bound` is where it begins, and then where it stands.

    Events of numbers beyond it were not met: greater ones, or smaller ones if the newest come
    first. It is ``None`` once there are none.

    Args:
        last: the number of the last event.
        bound: ``None``: at the end of the log at which the walk begins.
        holding: only pages that have these bytes in them.
    """

    def __init__(
        self,
        journal: Journal,
        last: int,
        bound: int | None,
        *,
        holding: bytes = b"",
        newest_first: bool = False,
    ) -> None:
        self.bound: int | None = bound
        self._journal = journal
        self._last = last
        self._holding = holding
        self._newest_first = newest_first
        self._first = 1
        self._place: int | None = None
        self._passed = 0
        self._bytes = 0

    async def begin_at(self, moment: datetime) -> None:
        """Begin at a time: at the page that was the first to end at it, or after it.

        Raises:
            SystemFault: the journal cannot be read.
        """
        low, high = await self._first_number() - 1, self._last
        while low < high:
            middle = (low + high) // 2
            row = await self._page_after(middle)
            if row is not None and _ended(row[1]) < moment.timestamp():
                low = int(row[0])
            else:
                high = middle
        if self._newest_first:
            row = await self._page_after(low)
            low = int(row[0]) + 1 if row else self._last + 1
        self.bound = low

    async def step(self) -> Sequence[bytes] | None:
        """The pages of the next step, in the walk's order; ``None``: this walk is over.

        Raises:
            SystemFault: the journal cannot be read.
        """
        if self._place is None:
            self._first = await self._first_number()
            self._place = await self._beginning()
        if not self._first <= self._place <= self._last:
            self.bound = None
            return None
        if self._passed >= SPAN or self._bytes >= MOST_READ:
            self.bound = await self._bound_at(self._place)
            return None
        pages, following = await self._window(self._place)
        self._passed += abs(following - self._place)
        self._bytes += sum(map(len, pages))
        self._place = following
        return pages

    async def _beginning(self) -> int:
        """The least page number that is to be looked at, or the greatest."""
        if not self._newest_first:
            return max(self._first, (self.bound or 0) + 1)
        if self.bound is None or self.bound > self._last:
            return self._last
        # The page in which the bound lies has smaller numbers as well.
        row = await self._page_after(self.bound - 1)
        return min(int(row[0]), self._last) if row else self._last

    async def _window(self, place: int) -> tuple[Sequence[bytes], int]:
        """The pages of a window, and the place behind them."""
        if self._newest_first:
            low, high = max(place - WINDOW + 1, self._first), place
        else:
            low, high = place, min(place + WINDOW - 1, self._last)
        rows = await self._journal.read(
            Table.EVENTS,
            after=number_key(low - 1),
            before=number_key(high + 1),
            limit=PAGES,
            newest_first=self._newest_first,
            holding=self._holding,
        )
        edge = low if self._newest_first else high
        end = int(rows[-1][0]) if len(rows) == PAGES else edge
        return [page for _, page in rows], end - 1 if self._newest_first else end + 1

    async def _bound_at(self, place: int) -> int | None:
        """Where to go on: between two pages, as a later walk has no others to go by."""
        before = place + 1 if self._newest_first else place
        rows = await self._journal.read(
            Table.EVENTS, before=number_key(before), limit=1, newest_first=True
        )
        if self._newest_first:
            return int(rows[0][0]) + 1 if rows else None
        return int(rows[0][0]) if rows else before - 1

    async def _first_number(self) -> int:
        """The number of the first page; that of the next event while there is none."""
        row = await self._page_after(0)
        return int(row[0]) if row else self._last + 1

    async def _page_after(self, number: int) -> tuple[str, bytes] | None:
        rows = await self._journal.read(Table.EVENTS, after=number_key(number), limit=1)
        return rows[0] if rows else None


def _ended(page: bytes) -> float:
    """When the last event of a page was told."""
    found = _AT.search(page, page.rfind(b"\n") + 1)
    return float(found[1]) if found else 0.0
