"""The clients that were let in, and what each has under way."""

from __future__ import annotations

from attrs import define

from flow_manager_core.contracts import Session
from flow_manager_socketio.access import Admission


@define
class ConnectedClient:
    """One client.

    Args:
        session: its line to the manager.
        admission: as whom it was let in, and the server events it asked for then.
        in_flight: its requests that have no answer yet.
    """

    sid: str
    session: Session
    admission: Admission
    in_flight: int = 0
