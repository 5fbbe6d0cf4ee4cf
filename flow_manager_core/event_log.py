"""Pages of the event log: server events as they stand in the journal.

A page is one value of `Table.EVENTS`, under the number of its last event; each of its lines is an
event: its number, its name, its container's full id, when it was told (seconds since the epoch),
the container's name and labels where it has any, and the body that clients get, without ``seq``
and ``epoch``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, cast, get_type_hints

import attrs
from attrs import frozen

from flow_manager_core.errors import SystemFault
from flow_manager_core.events import ErrorReported, Event, OtherEvent, event_kinds
from flow_manager_core.journals import Put, Table, number_key
from flow_manager_core.jsontext import dumps, loads
from flow_manager_core.selection import Identity
from flow_manager_core.wire import event_body

#: Bytes after which a page ends: what is read, searched and dropped as one.
PAGE = 256 * 1024
#: What to do about a page that cannot be read.
DAMAGED = "See flow-manager journal check; flow-manager journal rebuild keeps what can be read"
#: What stands between a line's own fields and the body. No text in front can hold it: JSON writes
#: a quote in a text with a backslash before it.
_BODY = b',"body":'

Identify = Callable[[str], Identity]


@frozen
class LoggedEvent:
    """An event as it was kept.

    Args:
        at: when it was told, seconds since the epoch.
        raw: the body as JSON.
    """

    seq: int
    name: str
    container_id: str
    at: float
    raw: bytes
    identity: Identity

    @property
    def body(self) -> Mapping[str, Any]:
        """The body that clients got; numbers of any size are as they were.

        Raises:
            SystemFault: it is damaged.
        """
        with _whole():
            found: Mapping[str, Any] = loads(self.raw)
        return found


def line_of(event: Event, identity: Identity | None = None) -> bytes:
    """An event that has its number, as it is kept.

    Args:
        identity: of its container.

    Raises:
        TypeError, ValueError, RecursionError: its body is not JSON.
    """
    head = {
        "seq": event.seq,
        "name": event.name,
        "container": event.container_id,
        "at": event.timestamp.timestamp(),
    }
    noted = identity.noted if identity else b""
    body = event.encoded or dumps(event_body(event))
    return b"%b%b%b%b}" % (dumps(head)[:-1], noted, _BODY, body)


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
    """Read a page.

    Raises:
        SystemFault: it is damaged.
    """
    for line in page.split(b"\n"):
        with _whole():
            event = _read(line)
        yield event


def _read(line: bytes) -> LoggedEvent:
    head, _, rest = line.partition(_BODY)
    row = loads(head + b"}")
    texts = row.get("labels", ())
    labels = frozenset(zip(texts[::2], texts[1::2], strict=True))
    identity = Identity(row["container"], row.get("of", ""), labels)
    return LoggedEvent(row["seq"], row["name"], identity.id, row["at"], rest[:-1], identity)


@contextmanager
def _whole() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SystemFault(f"The log of events is damaged: {error}", hint=DAMAGED) from error


def event_of(logged: LoggedEvent, epoch: str) -> Event:
    """The event itself, as it was told."""
    own: dict[str, Any] = {
        "container_id": logged.container_id,
        "timestamp": datetime.fromtimestamp(logged.at, UTC),
        "seq": logged.seq,
        "epoch": epoch,
        "encoded": logged.raw,
    }
    body = logged.body
    if logged.name == ErrorReported.name:
        return ErrorReported(**own, error=body)
    kind = _kept_kinds().get(logged.name)
    try:
        if kind is not None:
            return kind(**own, **_fields_of(kind, body))
    except (KeyError, ValueError, TypeError):
        pass  # another version's event of this name
    return OtherEvent(**own, kind=logged.name, body=body)


@cache
def _kept_kinds() -> Mapping[str, type[Event]]:
    return {name: kind for name, kind in event_kinds().items() if kind.kept}


def _fields_of(kind: type[Event], body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: body[key] if read is None or body[key] is None else read(body[key])
        for name, key, read in _shape_of(cast("Hashable", kind))
    }


@cache
def _shape_of(kind: Any) -> Sequence[tuple[str, str, Callable[[Any], Any] | None]]:
    """The fields of an event's own: their names, those in the body, and how each is read."""
    hints = get_type_hints(kind)
    common = {attribute.name for attribute in attrs.fields(Event)}
    names = [a.name for a in attrs.fields(kind) if a.name not in common]
    return [(name, name.removesuffix("_"), _reader_of(hints[name])) for name in names]


def _reader_of(hint: object) -> Callable[[Any], Any] | None:
    if hint is datetime:
        return datetime.fromisoformat
    return hint if isinstance(hint, type) and issubclass(hint, Enum) else None
