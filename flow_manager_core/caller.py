"""Who asks: a client with what belongs to its line to the manager."""

from __future__ import annotations

import anyio

from flow_manager_core.contracts import Outlet
from flow_manager_core.models import Client

#: The host application, which holds the manager itself and may do everything.
HOST = Client(frontend="", id="")


class Caller:
    """One client.

    Args:
        outlet: the way to it alone; ``None``: there is none.
    """

    def __init__(self, client: Client = HOST, outlet: Outlet | None = None) -> None:
        self.client = client
        self.outlet = outlet
        #: What it follows, each until its scope is cancelled.
        self.follows: dict[str, anyio.CancelScope] = {}
        #: Whether it is gone; its last requests may still be carried out.
        self.gone: bool = False

    def close(self) -> None:
        """It is gone: what it followed ends."""
        self.gone = True
        for scope in self.follows.values():
            scope.cancel()
