"""What the rows of each table are, and whether one is ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from flow_manager_core.booked import Booked
from flow_manager_core.desired import Desired
from flow_manager_core.durable.dead import read_settled
from flow_manager_core.durable.inbox import source_of
from flow_manager_core.durable.letters import body_of, letter_of, message_of
from flow_manager_core.errors import SystemFault
from flow_manager_core.event_log import events_of
from flow_manager_core.journals import Table, number_of
from flow_manager_core.past import ILLEGIBLE

#: Raises one of `ILLEGIBLE`, or `SystemFault`, for a row that is none of ours.
Reader = Callable[[str, bytes], object]


def amiss(table: Table, key: str, value: bytes) -> str:
    """Why a row is none of ours; the next start would be refused for it, or a client misled."""
    try:
        _READERS[table](key, value)
    except SystemFault as error:
        return error.message
    except ILLEGIBLE as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _page(key: str, value: bytes) -> None:
    *_, last = [(event.seq, event.body) for event in events_of(value)]
    if last[0] != number_of(key):
        raise ValueError("a page of other events")


def _operation(key: str, value: bytes) -> None:
    if Booked.read(value).key != key:
        raise ValueError("an operation of another request")


def _message(key: str, value: bytes) -> None:
    letter_of(int(key), value)
    message_of(body_of(value))


_READERS: Mapping[Table, Reader] = {
    Table.CONTAINERS: lambda _, value: Desired.from_json(json.loads(value)),
    Table.FACTS: lambda _, value: value.decode(),
    Table.OPERATIONS: _operation,
    Table.OUTBOX: _message,
    Table.INBOX: source_of,
    Table.SETTLED: read_settled,
    Table.EVENTS: _page,
}
