"""What is remembered of messages whose way has ended: those that arrived, and the dead letters.

In the journal they stand in one table, each kind under a letter of its own. The oldest of a kind
are forgotten first, once there are too many of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from attrs import frozen

from flow_manager_core.durable.letters import Letter, Status, letter_of
from flow_manager_core.durable.limits import Limits
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.journals import Drop, Journal, Put, Table, number_key
from flow_manager_core.models import Fault

KINDS = {Status.DELIVERED: "d", Status.UNDELIVERABLE: "u"}
#: Rows read at once; each may hold a whole message.
PAGE = 50


@frozen
class _Kept:
    number: int
    size: int
    request_id: str | None


class DeadLetters:
    """Knows which ends are in the journal, without their messages.

    Args:
        forgotten: told of the request id of each that is remembered no longer.
    """

    def __init__(self, journal: Journal, limits: Limits, forgotten: Callable[[str], None]) -> None:
        self._journal = journal
        self._limits = limits
        self._forgotten = forgotten
        self._kept: dict[Status, dict[int, _Kept]] = {status: {} for status in KINDS}
        self._sizes = dict.fromkeys(KINDS, 0)

    def __len__(self) -> int:
        return len(self._kept[Status.UNDELIVERABLE])

    async def load(self) -> Sequence[Letter]:
        """Find what earlier lives left; return it, without bodies, oldest numbers first.

        Raises:
            SystemFault: it cannot be read.
        """
        found: list[Letter] = []
        for status in KINDS:
            async for letter, body in self._rows(status):
                self.keep(letter, len(body))
                found.append(letter)
        return found

    def put(self, letter: Letter, row: bytes) -> Put:
        """The change that keeps an end."""
        assert letter.end is not None
        return Put(Table.SETTLED, _key(letter.end.status, letter.number), row)

    def keep(self, letter: Letter, size: int) -> None:
        """An end is in the journal, with so many bytes of its message."""
        assert letter.end is not None
        status = letter.end.status
        self._kept[status][letter.number] = _Kept(letter.number, size, letter.request_id)
        self._sizes[status] += size

    def drop(self, number: int) -> Drop:
        """The change that forgets a dead letter; `dropped` is to follow."""
        return Drop(Table.SETTLED, _key(Status.UNDELIVERABLE, number))

    def dropped(self, number: int, status: Status = Status.UNDELIVERABLE) -> None:
        """It is forgotten."""
        kept = self._kept[status].pop(number, None)
        if kept is not None:
            self._sizes[status] -= kept.size
            if kept.request_id is not None:
                self._forgotten(kept.request_id)

    def surplus(self) -> list[tuple[Status, int]]:
        """The oldest that are too many."""
        return [(status, number) for status in KINDS for number in self._surplus(status)]

    def _surplus(self, status: Status) -> Iterator[int]:
        kept, size = self._kept[status], self._sizes[status]
        left = len(kept)
        for entry in kept.values():
            if left <= self._limits.settled and size <= self._limits.undeliverable_size:
                return
            left, size = left - 1, size - entry.size
            yield entry.number

    @staticmethod
    def forget(surplus: Sequence[tuple[Status, int]]) -> list[Drop]:
        """The changes that forget them."""
        return [Drop(Table.SETTLED, _key(status, number)) for status, number in surplus]

    async def find(self, number: int) -> tuple[Letter, bytes] | None:
        """Read what became of a message; ``None``: nothing is known of that.

        Raises:
            SystemFault: it cannot be read.
        """
        rows = await self._journal.get(Table.SETTLED, [_key(kind, number) for kind in KINDS])
        for row in rows.values():
            return letter_of(number, row)
        return None

    async def undeliverable(self, number: int) -> tuple[Letter, bytes]:
        """Read a dead letter.

        Raises:
            InvalidRequest: there is none of this number.
            SystemFault: it cannot be read.
        """
        found = await self.find(number)
        if found is None or found[0].status is not Status.UNDELIVERABLE:
            raise InvalidRequest([Fault("message_id", "is no undeliverable message's")])
        return found

    async def read(
        self, wanted: Callable[[Letter], bool], offset: int, limit: int
    ) -> list[tuple[Letter, bytes]]:
        """Read dead letters that are wanted, oldest first.

        Raises:
            SystemFault: they cannot be read.
        """
        found: list[tuple[Letter, bytes]] = []
        async for letter, body in self._rows(Status.UNDELIVERABLE):
            if not wanted(letter):
                continue
            if offset:
                offset -= 1
                continue
            found.append((letter, body))
            if len(found) == limit:
                break
        return found

    async def _rows(self, status: Status) -> AsyncIterator[tuple[Letter, bytes]]:
        after, before = KINDS[status], KINDS[status] + ":"
        while True:
            page = await self._journal.read(Table.SETTLED, after=after, before=before, limit=PAGE)
            for key, row in page:
                after = key
                yield letter_of(int(key[1:]), row)
            if len(page) < PAGE:
                return


def _key(status: Status, number: int) -> str:
    return KINDS[status] + number_key(number)
