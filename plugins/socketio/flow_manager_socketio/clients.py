"""The clients that were let in, and what each has under way."""

from __future__ import annotations

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
    """

    sid: str
    session: Session
    admission: Admission
    in_flight: int = 0

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


def room_of(event: str) -> str:
    """The room of clients that chose this event among others."""
    return f"event {event}"
