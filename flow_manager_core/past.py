"""What an earlier life left in the journal: the desired states, and the facts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from attrs import frozen

from flow_manager_core.desired import Desired
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.journals import Journal, Put, Table, number_of
from flow_manager_core.models import Fault

#: The fact that names the journal; made with it.
EPOCH = "epoch"
#: What reading an entry raises that is none of ours.
ILLEGIBLE = (ValueError, TypeError, KeyError, IndexError, AttributeError)
#: Entries that are read at once.
STEP = 1000


@frozen
class Past:
    """What is known at the start.

    Args:
        desired: by `Desired.key`.
        facts: by name.
        last: the number of the last event that was kept.
    """

    desired: Mapping[str, Desired]
    facts: Mapping[str, str]
    last: int = 0


def past_of(
    containers: Iterable[tuple[str, bytes]], facts: Iterable[tuple[str, bytes]], last: int = 0
) -> Past:
    """Read the entries of both tables.

    Raises:
        ValueError, TypeError, KeyError: an entry is none of ours.
    """
    desired = {key: Desired.from_json(json.loads(value)) for key, value in containers}
    return Past(desired, {key: value.decode() for key, value in facts}, last)


async def read_past(journal: Journal) -> Past:
    """Read what there is.

    Raises:
        ConfigurationError: an entry is none of ours.
        SystemFault: they cannot be read.
    """
    containers = await _everything(journal, Table.CONTAINERS)
    facts = await _everything(journal, Table.FACTS)
    pages = await journal.read(Table.EVENTS, limit=1, newest_first=True)
    with legible():
        return past_of(containers, facts, max((number_of(key) for key, _ in pages), default=0))


@contextmanager
def legible() -> Iterator[None]:
    """Read entries inside.

    Raises:
        ConfigurationError: one of them is none of ours.
    """
    try:
        yield
    except ILLEGIBLE as error:
        told = (
            f"its entries cannot be read ({error}); no container was touched:"
            " see flow-manager journal check, and flow-manager journal rebuild"
        )
        raise ConfigurationError([Fault("journal", told)]) from error


def desired_entry(desired: Desired) -> Put:
    """A desired state as an entry."""
    body = json.dumps(desired.to_json(), separators=(",", ":"))
    return Put(Table.CONTAINERS, desired.key, body.encode())


def fact_entry(name: str, value: str) -> Put:
    """A fact as an entry."""
    return Put(Table.FACTS, name, value.encode())


async def _everything(journal: Journal, table: Table) -> Sequence[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    while True:
        entries = await journal.read(table, after=found[-1][0] if found else "", limit=STEP)
        found += entries
        if len(entries) < STEP:
            return found
