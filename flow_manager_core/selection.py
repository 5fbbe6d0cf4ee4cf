"""Which events a client wants, and where in their log it stands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import orjson
from attrs import evolve, field, frozen

#: Characters of an id that clients are shown, and of the shortest prefix that stands for one.
_SHORT, _SHORTEST = 12, 4
#: Bytes of a container's labels, as JSON, that are kept with each of its events.
LABELS_LIMIT = 2048


@frozen
class Position:
    """A place in the log of events: after the event with this number; 0: before the first.

    Args:
        epoch: names the journal in whose order the events are numbered.
    """

    epoch: str
    seq: int


@frozen
class Identity:
    """What filters know of a container.

    Args:
        id: the engine's full id; empty for what is about no container.
        labels: the client's own, as pairs.
    """

    id: str
    name: str = ""
    labels: frozenset[tuple[str, str]] = frozenset()
    #: Its fields of a line of the log, without the id; see `event_log`.
    noted: bytes = field(default=b"", eq=False, repr=False)

    @classmethod
    def of(cls, container_id: str, name: str, labels: Mapping[str, str]) -> Self:
        """An identity with its fields of the log; labels beyond `LABELS_LIMIT` are not in there."""
        noted = b',"of":%b' % orjson.dumps(name)
        # A list, as no key of it can be taken for one of the line's own.
        told = orjson.dumps([text for pair in labels.items() for text in pair])
        if labels and len(told) <= LABELS_LIMIT:
            noted += b',"labels":%b' % told
        return cls(container_id, name, frozenset(labels.items()), noted)

    def is_meant_by(self, ref: str) -> bool:
        """Whether a request's word for a container fits this one."""
        if ref in (self.id, self.id[:_SHORT], self.name):
            return True
        return len(ref) >= _SHORTEST and self.id.startswith(ref)


@frozen
class Selection:
    """What a client wants to hear of.

    Args:
        containers: ids, names, prefixes; ``None``: all, and what is about none.
        labels: pairs that a container must carry, all of them.
        events: names of events, ``None`` for all.
        without: containers that are not wanted, though they be selected.
    """

    containers: tuple[str, ...] | None = None
    labels: frozenset[tuple[str, str]] = frozenset()
    events: frozenset[str] | None = None
    without: tuple[str, ...] = ()

    @property
    def scope(self) -> Selection:
        """The same of all kinds of events."""
        return evolve(self, events=None)

    @property
    def everywhere(self) -> bool:
        """Whether it does not matter which container an event is about."""
        return self.containers is None and not self.labels and not self.without

    def wants(self, event: str) -> bool:
        """Whether events of this name are wanted."""
        return self.events is None or event in self.events

    def fits(self, identity: Identity) -> bool:
        """Whether this container's events are wanted."""
        if self.containers is not None and not _meant(identity, self.containers):
            return False
        return self.labels <= identity.labels and not _meant(identity, self.without)

    def matches(self, event: str, identity: Identity) -> bool:
        """Whether an event of this name about this container is wanted."""
        return self.wants(event) and (self.everywhere or self.fits(identity))

    def less(
        self, containers: tuple[str, ...], events: frozenset[str], kinds: frozenset[str]
    ) -> Selection:
        """The same without some containers and some kinds of events.

        Args:
            kinds: the names of all events, for a selection that names none.
        """
        left = self
        if events:
            left = evolve(left, events=(kinds if self.events is None else self.events) - events)
        if not containers:
            return left
        if self.containers is None:
            return evolve(left, without=tuple(dict.fromkeys((*self.without, *containers))))
        return evolve(left, containers=tuple(c for c in self.containers if c not in containers))

    def body(self) -> dict[str, Any]:
        """As clients are shown it."""
        shown: dict[str, Any] = {
            "containers": None if self.containers is None else list(self.containers),
            "labels": dict(sorted(self.labels)),
            "events": None if self.events is None else sorted(self.events),
        }
        return {**shown, "without": list(self.without)} if self.without else shown


def _meant(identity: Identity, refs: Iterable[str]) -> bool:
    return any(identity.is_meant_by(ref) for ref in refs)


#: What a client hears that has named nothing, and one that wants no more.
EVERYTHING, NOTHING = Selection(), Selection(events=frozenset())
