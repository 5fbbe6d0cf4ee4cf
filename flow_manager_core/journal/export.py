"""What a journal holds, as JSON objects for other programs. Blocks."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from flow_manager_core.errors import SystemFault
from flow_manager_core.event_log import events_of
from flow_manager_core.journals import Table, number_key
from flow_manager_core.jsontext import loads
from flow_manager_core.sqlite.file import MIGRATIONS, NAME, LaterVersion, look_at, version_of

#: What can be asked for, and the tables in which that stands.
EXPORTS: Mapping[str, tuple[Table, ...]] = {
    "events": (Table.EVENTS,),
    "operations": (Table.OPERATIONS,),
    "messages": (Table.OUTBOX, Table.INBOX, Table.SETTLED),
    "containers": (Table.CONTAINERS,),
}


def exported(folder: Path, names: Collection[str], since: int) -> Iterator[dict[str, Any]]:
    """Read the file of an instance beside whoever writes it; all of it as of one moment.

    Args:
        names: of `EXPORTS`.
        since: of events only those with a greater number.

    Raises:
        One of `sqlite.file.UNREADABLE`: it cannot be read, or no further.
    """
    with closing(look_at(folder / NAME)) as base:
        if version_of(base) > len(MIGRATIONS):
            raise LaterVersion(f"it was written by a later version ({version_of(base)})")
        base.execute("BEGIN")
        tables = [table for name in EXPORTS if name in names for table in EXPORTS[name]]
        for table in tables if version_of(base) else ():
            after = number_key(since) if table is Table.EVENTS else ""
            query = f"SELECT key, value FROM {table} WHERE key > ? ORDER BY key"  # noqa: S608
            for key, value in base.execute(query, [after]):
                if table is Table.EVENTS:
                    yield from _events(key, value, since)
                else:
                    yield {"table": str(table), "key": key, "value": _plain(value)}


def _events(key: str, page: bytes, since: int) -> Sequence[dict[str, Any]]:
    """The events of a page; one that is damaged as it stands."""
    try:
        return [
            {
                "table": str(Table.EVENTS),
                "seq": event.seq,
                "name": event.name,
                "container_id": event.container_id,
                "at": event.at,
                "body": event.body,
            }
            for event in events_of(page)
            if event.seq > since
        ]
    except SystemFault:
        return [{"table": str(Table.EVENTS), "key": key, "value": _plain(page)}]


def _plain(value: bytes) -> Any:
    """A value as JSON; one of several lines as a list of them, and what is no JSON as Base64."""
    try:
        lines = [loads(line) for line in value.split(b"\n")]
    except ValueError:
        return {"base64": base64.b64encode(value).decode()}
    return lines[0] if len(lines) == 1 else lines
