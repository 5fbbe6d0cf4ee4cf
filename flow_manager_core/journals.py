"""What a journal is: ordered tables of texts, changed in whole groups that last.

A journal knows nothing of what it keeps. What its values mean, and which changes belong together,
is said by those who write; `journal.writer` brings their changes here, many at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

from attrs import frozen

from flow_manager_core.errors import SystemFault


class JournalHangs(SystemFault):
    """The disk did not answer in time: the changes may have been made, or may be later."""

    default_retryable = True


class Table(StrEnum):
    """The tables. Keys of a table are compared as text, byte by byte in UTF-8."""

    #: Desired states of containers, by `Desired.key`.
    CONTAINERS = "containers"
    #: Single facts, by name.
    FACTS = "facts"
    #: Intent and outcome of changing operations, by request id. JSON objects: see `retention`.
    OPERATIONS = "operations"
    #: Messages that flows have not acknowledged, by their number.
    OUTBOX = "outbox"
    #: The last message that was stored of each sender in a flow.
    INBOX = "inbox"
    #: What became of messages whose way has ended, by their number.
    SETTLED = "settled"
    #: Pages of server events, each by the number of its last event.
    EVENTS = "events"


@frozen
class Put:
    """Keep a value, in the place of the one that its key had."""

    table: Table
    key: str
    value: bytes


@frozen
class Drop:
    """Keep a key no longer; one that is not there is no fault."""

    table: Table
    key: str


@frozen
class DropThrough:
    """Keep no key up to and including this one."""

    table: Table
    key: str


Change = Put | Drop | DropThrough


class Journal(ABC):
    """Keeps what must not be lost. One manager at a time has it.

    Its calls may come from several tasks at once. A call that is cancelled has been carried out as
    a whole or not at all. Keys are not empty.
    """

    @abstractmethod
    async def commit(self, changes: Sequence[Change], *, urgent: bool = False) -> None:
        """Make changes, in this order, all or none; they last once this returns.

        Args:
            urgent: they end or remove something; a full disk must have room for that.

        Raises:
            JournalHangs: nothing is known of them.
            SystemFault: none of them was made; `retryable`, with the cause in the message.
        """

    @abstractmethod
    async def get(self, table: Table, keys: Collection[str]) -> Mapping[str, bytes]:
        """Find values by their keys; those that are not there are left out.

        Raises:
            SystemFault: they cannot be read.
        """

    @abstractmethod
    async def read(
        self,
        table: Table,
        *,
        after: str = "",
        before: str | None = None,
        limit: int = 1000,
        newest_first: bool = False,
        holding: bytes = b"",
    ) -> Sequence[tuple[str, bytes]]:
        """Read keys and values, in the order of the keys.

        Args:
            after: only greater keys.
            before: only smaller keys.
            limit: of entries; fewer may come only where there are no more.
            newest_first: in the opposite order.
            holding: only values that have these bytes in them.

        Raises:
            SystemFault: they cannot be read.
        """

    @abstractmethod
    async def size(self, table: Table) -> int:
        """Bytes of a table's values.

        Raises:
            SystemFault: it cannot be read.
        """


#: Digits of a number that is a key: as many as the greatest of 64 bits has.
DIGITS = 19


def number_key(number: int) -> str:
    """A number that is not negative as a key; keys are in the order of their numbers."""
    return f"{number:0{DIGITS}d}"


def number_of(key: str) -> int:
    """The number that is this key.

    Raises:
        ValueError: it is none.
    """
    return int(key)
