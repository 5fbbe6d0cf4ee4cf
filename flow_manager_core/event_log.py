"""Pages of the event log: server events as they stand in the journal.

A page is one value of `Table.EVENTS`, under the number of its last event; each of its lines is an
event: its number, its name, its container's full id, when it was told (seconds since the epoch),
and the body that clients get, without ``seq`` and ``epoch``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen

from flow_manager_core.events import Event
from flow_manager_core.journals import Put, Table, number_key
from flow_manager_core.jsontext import dumps
from flow_manager_core.wire import event_body


@frozen
class LoggedEvent:
    """An event as it was kept."""

    seq: int
    name: str
    container_id: str
    at: float
    body: Mapping[str, Any]


def page_of(events: Sequence[Event]) -> Put:
    """A page of at least one event; all have their numbers."""
    lines = b"\n".join(_line(event) for event in events)
    return Put(Table.EVENTS, number_key(events[-1].seq), lines)


def _line(event: Event) -> bytes:
    head = {
        "seq": event.seq,
        "name": event.name,
        "container": event.container_id,
        "at": event.timestamp.timestamp(),
    }
    return b'%b,"body":%b}' % (dumps(head)[:-1], dumps(event_body(event)))


def events_of(page: bytes) -> Iterator[LoggedEvent]:
    """Read a page."""
    for line in page.split(b"\n"):
        row = orjson.loads(line)
        yield LoggedEvent(row["seq"], row["name"], row["container"], row["at"], row["body"])
