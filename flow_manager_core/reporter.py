"""Tells clients what happened: each event goes to the bus with its line of the activity feed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from flow_manager_core.activities import activity, activity_of
from flow_manager_core.bus import EventBus
from flow_manager_core.errors import ChannelError, FlowManagerError
from flow_manager_core.events import (
    ErrorReported,
    Event,
    MessageReceived,
    SocketConnected,
    SocketDisconnected,
    now,
)
from flow_manager_core.journal_writer import JournalWriter
from flow_manager_core.log import get_log
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import Message
from flow_manager_core.news import News
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.selection import Position

ErrorBody = Callable[[FlowManagerError], Mapping[str, Any]]


class Reporter:
    """The way from the manager's parts through the journal to the bus.

    Args:
        error_body: the chosen error format.
        metrics: counts what is told.
    """

    def __init__(
        self, bus: EventBus, journal: JournalWriter, error_body: ErrorBody, metrics: Metrics
    ) -> None:
        self._bus = bus
        self._journal = journal
        self._metrics = metrics
        self.error_body = error_body
        self.news: News = News(Position(journal.epoch, journal.last))

    def tell(self, *events: Event) -> None:
        """Have events kept and published, each followed by its line of the feed."""
        for event in events:
            self._metrics.event(event)
            line = activity_of(event)
            self._journal.tell(event, *([line] if line else []))

    def note(
        self, record: ContainerRecord, activity_type: str, message: str, **details: Any
    ) -> None:
        """Have a line of the feed kept and published that has no event of its own."""
        self._journal.tell(activity(record.id, activity_type, message, details))

    def error(self, record: ContainerRecord, error: FlowManagerError) -> None:
        """Tell of a failure that no request asked about."""
        error.about(container_id=record.short_id, operation="channel")
        self._metrics.channel_error(error)
        self.tell(ErrorReported(container_id=record.id, error=self.error_body(error)))

    async def keep_up(self) -> None:
        """Wait a moment for subscribers to take what was told."""
        await self._bus.keep_up()

    async def relief(self) -> None:
        """Wait while the journal or a subscriber is far behind."""
        if self._journal.crowded:
            await self._journal.relief()
        if self._bus.crowded:
            await self._bus.relief()


class ChannelReporter:
    """Tells what happens on one container's channel; a `ChannelListener`.

    Args:
        on_end: told when the channel went down.
    """

    def __init__(
        self,
        record: ContainerRecord,
        reporter: Reporter,
        on_end: Callable[[ContainerRecord], None],
    ) -> None:
        self._record = record
        self._reporter = reporter
        self._on_end = on_end
        self._log = get_log("channel")

    def channel_up(self, *, reconnected: bool) -> None:
        """See `ChannelListener`."""
        self._log.info(
            "Socket connected", container_id=self._record.short_id, reconnected=reconnected
        )
        self._reporter.tell(SocketConnected(container_id=self._record.id, reconnected=reconnected))
        self._record.notify()

    def channel_down(self, reason: str) -> None:
        """See `ChannelListener`."""
        self._log.info("Socket disconnected", container_id=self._record.short_id, reason=reason)
        self._reporter.tell(SocketDisconnected(container_id=self._record.id, reason=reason))
        self._record.notify()
        self._on_end(self._record)

    async def message_arrived(self, message: Message) -> None:
        """See `ChannelListener`."""
        body = message.to_json()
        log_message(self._log, "received", self._record, body)
        self._reporter.tell(
            MessageReceived(container_id=self._record.id, message=body, timestamp=now())
        )
        await self._reporter.relief()

    def bad_frame(self, error: ChannelError, suppressed: int) -> None:
        """See `ChannelListener`."""
        if suppressed:
            error.about(suppressed=suppressed)
        self._log.warning(
            "Socket communication: bad frame", container_id=self._record.short_id, error=str(error)
        )
        self._reporter.error(self._record, error)


def log_message(log: Any, way: str, record: ContainerRecord, body: Mapping[str, Any]) -> None:
    """The guide's line for a message; costs nothing unless DEBUG is on."""
    if log.isEnabledFor(logging.DEBUG):
        told = f"Socket communication: {way}"
        log.debug(told, container_id=record.short_id, message=body)
