"""A journal that refuses: what could not be kept meanwhile, and when to try again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flow_manager_core.events import Event, EventsNotKept, now
from flow_manager_core.log import get_log


class Refusal:
    """Remembers it; the log hears of its beginning and of its end alone."""

    def __init__(self) -> None:
        self._log = get_log("journal")
        self._since: datetime = now()
        self._missing = 0
        #: Why it refuses; empty while it does not.
        self.reason: str = ""

    def began(self, reason: str) -> None:
        """It refused something."""
        if not self.reason:
            self._log.error("The journal refuses", error=reason)
        self.reason = reason

    def missed(self, events: Sequence[Event]) -> None:
        """Events were told that are not kept."""
        number = sum(event.kept for event in events)
        if number and not self._missing:
            self._since = min(event.timestamp for event in events if event.kept)
        self._missing += number

    def entry(self) -> list[Event]:
        """What is to be kept before the next event, if any is missing there."""
        if not self._missing:
            return []
        return [
            EventsNotKept(
                container_id="", reason=self.reason, count=self._missing, since=self._since
            )
        ]

    def told(self) -> None:
        """The entry is kept."""
        self._missing = 0

    def over(self) -> None:
        """It took something that it might have refused."""
        if self.reason:
            self._log.info("The journal keeps again what happens")
        self.reason = ""
