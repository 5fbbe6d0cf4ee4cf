"""The clients that were let in, and what each has under way."""

from __future__ import annotations

from collections import Counter

import orjson
from attrs import define, frozen

from flow_manager_core.contracts import Session
from flow_manager_socketio.access import BOTH, Admission

#: The room of clients that want every server event. Client ids have no spaces in them.
ALL_EVENTS = "all events"


@frozen
class Reply:
    """An answer as it is sent.

    Args:
        event: the response event; ``None``: the acknowledgement is enough.
    """

    event: str | None
    body: orjson.Fragment


@define
class ConnectedClient:
    """One client.

    Args:
        session: its line to the manager.
        admission: as whom it was let in, and the server events it wants.
        in_flight: its requests that have no answer yet.
        listens: whether it gets events yet.
    """

    sid: str
    session: Session
    admission: Admission
    in_flight: int = 0
    listens: bool = False

    def needs_event(self, acknowledged: bool) -> bool:
        """Whether an answer goes to it as an event, beside its acknowledgement or without one."""
        return not acknowledged or self.admission.answers == BOTH

    def wants(self, event: str) -> bool:
        """Whether it asked for a server event."""
        events = self.admission.events
        return events is None or event in events

    def rooms(self) -> list[str]:
        """Where it must be to get its events."""
        if self.admission.events is None:
            return [ALL_EVENTS]
        return [room_of(event) for event in self.admission.events]


class Audience:
    """Which rooms have anyone in them: what nobody hears is not even written."""

    def __init__(self) -> None:
        self._rooms: Counter[str] = Counter()

    def add(self, client: ConnectedClient) -> None:
        """A client gets events from now on."""
        self._rooms.update(client.rooms())

    def discard(self, client: ConnectedClient) -> None:
        """A client that was added gets no more."""
        for room in client.rooms():
            self._rooms[room] -= 1
            if not self._rooms[room]:
                del self._rooms[room]  # clients may ask for names of their own

    def hears(self, event: str) -> bool:
        """Whether anyone gets an event of this name."""
        return ALL_EVENTS in self._rooms or room_of(event) in self._rooms


def room_of(event: str) -> str:
    """The room of clients that chose this event among others."""
    return f"event {event}"
