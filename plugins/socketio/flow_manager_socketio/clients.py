"""The clients that were let in, and what each has under way."""

from __future__ import annotations

import orjson
from attrs import define, frozen

from flow_manager_core.contracts import Session
from flow_manager_socketio.access import BOTH, Admission


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
        admission: as whom it was let in, and the server events it asked for then.
        in_flight: its requests that have no answer yet.
        listens: whether it gets events yet.
    """

    sid: str
    session: Session
    admission: Admission
    in_flight: int = 0

    def needs_event(self, acknowledged: bool) -> bool:
        """Whether an answer goes to it as an event, beside its acknowledgement or without one."""
        return not acknowledged or self.admission.answers == BOTH
