"""A manager behind a frontend that does what a real one never should."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from attrs import define, field

from flow_manager_core.bus import EventBus
from flow_manager_core.contracts import Events, Feed, Outlet, Position, Selection
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import Event, StatusChanged, now
from flow_manager_core.models import Answer, Client, ContainerState
from flow_manager_core.selection import EVERYTHING
from flow_manager_core.testing.frontend_cases.clients import unusual_format
from flow_manager_core.wire import event_body, event_json

#: Events that a subscriber may be behind.
ROOM = 5


@define
class AwkwardGateway:
    """A `Gateway` and its own `Session`: what it does is in the operation's name.

    ``hang`` never answers, ``raise`` raises, ``mumble`` answers with what is no JSON, anything
    else is answered with its own payload.
    """

    version = "0"
    backend_name = "awkward"
    error_media_type = "application/json"
    bus: EventBus = field(factory=lambda: EventBus(limit=ROOM))
    #: The operations asked for.
    asked: list[str] = field(factory=list)

    position: Position = Position("awkward", 0)
    beginning: Position = Position("awkward", 0)
    #: Those of the clients that came last.
    feed: Feed | None = None

    def session(
        self, client: Client, outlet: Outlet | None = None, feed: Feed | None = None
    ) -> AwkwardGateway:
        """One for all."""
        self.feed = feed
        return self

    def listen(self, selection: Selection = EVERYTHING, since: Position | None = None) -> Position:
        """Live alone."""
        if self.feed is not None:
            self.feed.enter(selection)
        return self.position

    def close(self) -> None:
        """Nothing is followed here."""

    def ready(self) -> bool:
        """Always."""
        return True

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """None."""
        return b"", "text/plain"

    async def answer(self, name: str, payload: object) -> Answer:
        """Do as the name says."""
        self.asked.append(name)
        if name == "hang":
            await anyio.sleep_forever()
        if name == "raise":
            raise RuntimeError("the session's own fault")
        return Answer("said", {"said": object() if name == "mumble" else payload})

    def selects(self, selection: Selection, event: Event) -> bool:
        """Whatever container it is about."""
        return selection.wants(event.name)

    @asynccontextmanager
    async def subscribe(
        self,
        since: Position | None = None,
        selection: Selection | None = None,
    ) -> AsyncIterator[Events]:
        """Follow what `move` tells."""
        with self.bus.subscribe() as subscription:
            yield subscription

    def move(self, *container_ids: str) -> None:
        """Tell of as many changes at once."""
        created, running = ContainerState.CREATED, ContainerState.RUNNING
        self.bus.publish(
            *(
                StatusChanged(container_id=key, old_state=created, new_state=running)
                for key in container_ids
            )
        )

    def event_body(self, event: Event) -> Mapping[str, Any]:
        """As a manager has it."""
        return event_body(event)

    def event_json(self, event: Event) -> bytes:
        """As a manager has it."""
        return event_json(event)

    def error_body(self, error: FlowManagerError) -> Mapping[str, Any]:
        """As the suite's manager has it."""
        return unusual_format(error, now())

    async def health(self) -> Mapping[str, Any]:
        """Healthy, so far."""
        return {"status": "healthy"}
