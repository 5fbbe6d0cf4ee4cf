"""Pages of the event log: server events as they stand in the journal.

A page is one value of `Table.EVENTS`, under the number of its last event; each of its lines is an
event: its number, its name, its container's full id, when it was told (seconds since the epoch),
and the body that clients get, without ``seq`` and ``epoch``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from flow_manager_core.events import Event
from flow_manager_core.journals import Put, Table, number_key
from flow_manager_core.jsontext import dumps, loads
from flow_manager_core.wire import event_body

#: Bytes after which a page ends: what is read, searched and dropped as one.
PAGE = 256 * 1024
#: What stands between a line's own fields and the body. No text in front can hold it: JSON writes
#: a quote in a text with a backslash before it.
_BODY = b',"body":'


@frozen
class LoggedEvent:
    """An event as it was kept."""

    seq: int
    name: str
    container_id: str
    at: float
    body: Mapping[str, Any]


def line_of(event: Event) -> bytes:
    """An event that has its number, as it is kept.

    Raises:
        TypeError, ValueError, RecursionError: its body is not JSON.
    """
    head = {
        "seq": event.seq,
        "name": event.name,
        "container": event.container_id,
        "at": event.timestamp.timestamp(),
    }
    return b"%b%b%b}" % (dumps(head)[:-1], _BODY, dumps(event_body(event)))


def pages_of(lines: Sequence[bytes], last: int) -> Iterator[Put]:
    """Pages of lines whose numbers follow one another.

    Args:
        last: the number of the last line.
    """
    page: list[bytes] = []
    size = 0
    for number, line in enumerate(lines, start=last - len(lines) + 1):
        page.append(line)
        size += len(line)
        if size >= PAGE or number == last:
            yield Put(Table.EVENTS, number_key(number), b"\n".join(page))
            page, size = [], 0


def events_of(page: bytes) -> Iterator[LoggedEvent]:
    """Read a page."""
    for line in page.split(b"\n"):
        head, _, rest = line.partition(_BODY)
        row = loads(head + b"}")
        yield LoggedEvent(row["seq"], row["name"], row["container"], row["at"], loads(rest[:-1]))
