"""What is remembered of messages whose way has ended: those that arrived, and the dead letters.

In the journal they stand in one table, each kind under a letter of its own. The oldest of a kind
are forgotten first, once there are too many of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from flow_manager_core.durable.letters import Letter, Status, settled_of, settled_row
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.journals import Drop, Journal, Put, Table, number_key
from flow_manager_core.models import Fault

KINDS = {Status.DELIVERED: "d", Status.UNDELIVERABLE: "u"}
#: Rows read at once; each may hold a whole message.
PAGE = 50

#: What is known of a message, and the message.
Found = tuple[Letter, Mapping[str, Any]]


class DeadLetters:
    """Knows which ends are in the journal, without their messages.

    Args:
        most: ends of a kind.
        forgotten: told of the request id of each that is remembered no longer.
    """

    def __init__(self, journal: Journal, most: int, forgotten: Callable[[str], None]) -> None:
        self._journal = journal
        self._most = most
        self._forgotten = forgotten
        self._kept: dict[Status, dict[int, str | None]] = {status: {} for status in KINDS}

    def __len__(self) -> int:
        return len(self._kept[Status.UNDELIVERABLE])

    async def load(self) -> Sequence[Letter]:
        """Find what earlier lives left; return it, without messages, oldest numbers first.

        Raises:
            SystemFault: it cannot be read.
        """
        found: list[Letter] = []
        for status in KINDS:
            page = await self._page(status, 0)
            while page:
                for letter, _ in page:
                    self.keep(letter)
                    found.append(letter)
                page = await self._page(status, found[-1].number)
        return found

    @staticmethod
    def put(letter: Letter, body: bytes) -> Put:
        """The change that keeps an end."""
        assert letter.end is not None
        key = _key(letter.end.status, letter.number)
        return Put(Table.SETTLED, key, settled_row(letter, body))

    def keep(self, letter: Letter) -> None:
        """An end is in the journal."""
        assert letter.end is not None
        self._kept[letter.end.status][letter.number] = letter.request_id

    @staticmethod
    def drop(number: int) -> Drop:
        """The change that forgets a dead letter; `dropped` is to follow."""
        return Drop(Table.SETTLED, _key(Status.UNDELIVERABLE, number))

    def dropped(self, number: int, status: Status = Status.UNDELIVERABLE) -> None:
        """It is forgotten."""
        request_id = self._kept[status].pop(number, None)
        if request_id is not None:
            self._forgotten(request_id)

    def surplus(self) -> list[tuple[Status, int]]:
        """The oldest that are too many."""
        return [
            (status, number)
            for status, kept in self._kept.items()
            for number in islice(kept, max(0, len(kept) - self._most))
        ]

    @staticmethod
    def forget(surplus: Sequence[tuple[Status, int]]) -> list[Drop]:
        """The changes that forget them."""
        return [Drop(Table.SETTLED, _key(status, number)) for status, number in surplus]

    async def find(self, number: int) -> Found | None:
        """Read what became of a message; ``None``: nothing is known of that.

        Raises:
            SystemFault: it cannot be read.
        """
        rows = await self._journal.get(Table.SETTLED, [_key(kind, number) for kind in KINDS])
        for row in rows.values():
            return settled_of(number, row)
        return None

    async def undeliverable(self, number: int) -> Found:
        """Read a dead letter.

        Raises:
            InvalidRequest: there is none of this number.
            SystemFault: it cannot be read.
        """
        found = await self.find(number)
        if found is None or found[0].status is not Status.UNDELIVERABLE:
            raise InvalidRequest([Fault("message_id", "is no undeliverable message's")])
        return found

    async def read(self, wanted: Callable[[Letter], bool], offset: int, limit: int) -> list[Found]:
        """Read dead letters that are wanted, oldest first.

        Raises:
            SystemFault: they cannot be read.
        """
        found: list[Found] = []
        after = 0
        while len(found) < limit:
            page = await self._page(Status.UNDELIVERABLE, after)
            if not page:
                break
            after = page[-1][0].number
            fitting = [each for each in page if wanted(each[0])]
            found += fitting[offset : offset + limit - len(found)]
            offset = max(0, offset - len(fitting))
        return found

    async def _page(self, status: Status, after: int) -> list[Found]:
        """Read the next ones after a number."""
        rows = await self._journal.read(
            Table.SETTLED, after=_key(status, after), before=KINDS[status] + ":", limit=PAGE
        )
        return [read_settled(key, row) for key, row in rows]


def read_settled(key: str, row: bytes) -> Found:
    """Read a row of the table."""
    letter, message = settled_of(int(key[1:]), row)
    if letter.end is None or not key.startswith(KINDS[letter.end.status]):
        raise ValueError("a message that ended in another way")
    return letter, message


def _key(status: Status, number: int) -> str:
    return KINDS[status] + number_key(number)
