"""Who asks: a client with what belongs to its line to the manager."""

from __future__ import annotations

from typing import Protocol

import anyio

from flow_manager_core.contracts import Feed, Outlet
from flow_manager_core.models import Client

#: The host application, which holds the manager itself and may do everything.
HOST = Client(frontend="", id="")


class Ending(Protocol):
    """Something of a client's that can be ended."""

    def end(self) -> None:
        """End it, at once."""


class Caller:
    """One client.

    Args:
        outlet: the way to it alone; ``None``: there is none.
        feed: its share of what all are told; ``None``: it cannot choose.
    """

    def __init__(
        self, client: Client = HOST, outlet: Outlet | None = None, feed: Feed | None = None
    ) -> None:
        self.client = client
        self.outlet = outlet
        self.feed = feed
        #: What it hears of the events; see `listening`.
        self.listening: Ending | None = None
        #: What it follows, each until its scope is cancelled.
        self.follows: dict[str, anyio.CancelScope] = {}
        #: Whether it is gone; its last requests may still be carried out.
        self.gone: bool = False

    def close(self) -> None:
        """It is gone: what it followed ends."""
        self.gone = True
        for scope in self.follows.values():
            scope.cancel()
        if self.listening is not None:
            self.listening.end()
