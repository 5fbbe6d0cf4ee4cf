"""Tells clients what happened: each event goes to the bus with its line of the activity feed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from flow_manager_core.activities import activity, activity_of, received
from flow_manager_core.bus import EventBus
from flow_manager_core.errors import ChannelError, FlowManagerError
from flow_manager_core.events import (
    ActivityLogged,
    ErrorReported,
    Event,
    MessageReceived,
    SocketConnected,
    SocketDisconnected,
)
from flow_manager_core.log import ROOT, get_log
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import Message
from flow_manager_core.news import News
from flow_manager_core.registry import ContainerRecord

#: The part whose lines are about what goes over channels.
CHANNEL = "channel"
_messages = logging.getLogger(f"{ROOT}.{CHANNEL}")

ErrorBody = Callable[[FlowManagerError], Mapping[str, Any]]


class Reporter:
    """The way from the manager's parts to the bus.

    Args:
        error_body: the chosen error format.
        metrics: counts what is told.
    """

    def __init__(self, bus: EventBus, error_body: ErrorBody, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self.error_body = error_body
        self.news: News = News()

    def tell(self, *events: Event) -> None:
        """Publish events, each followed by its line of the feed where somebody wants those."""
        for event in events:
            self._metrics.event(event)
            self.news.keep(event)
        with_lines = self._bus.wanted(ActivityLogged)
        for event in events:
            line = activity_of(event) if with_lines else None
            self._bus.publish(event, *([line] if line else []))

    def message(self, record: ContainerRecord, message: Message) -> None:
        """Count a flow's message, and tell of it if anybody wants to know."""
        self._metrics.message("received")
        if self._bus.wanted(MessageReceived):
            self._bus.publish(MessageReceived(container_id=record.id, message=message.to_json()))
        if self._bus.wanted(ActivityLogged):
            self._bus.publish(activity(record.id, *received(message.command)))

    def note(
        self, record: ContainerRecord, activity_type: str, message: str, **details: Any
    ) -> None:
        """Publish a line of the feed that has no event of its own."""
        if self._bus.wanted(ActivityLogged):
            self._bus.publish(activity(record.id, activity_type, message, details))

    def error(self, record: ContainerRecord, error: FlowManagerError) -> None:
        """Tell of a failure that no request asked about."""
        error.about(container_id=record.short_id, operation="channel")
        self._metrics.channel_error(error)
        self.tell(ErrorReported(container_id=record.id, error=self.error_body(error)))

    async def keep_up(self) -> None:
        """Wait a moment for subscribers to take what was told."""
        await self._bus.keep_up()

    @property
    def crowded(self) -> bool:
        """Whether subscribers are far behind."""
        return self._bus.crowded

    async def relief(self) -> None:
        """Wait while they are."""
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
        self._log = get_log(CHANNEL)

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
        log_message("received", self._record, message)
        self._reporter.message(self._record, message)
        if self._reporter.crowded:
            await self._reporter.relief()

    def bad_frame(self, error: ChannelError, suppressed: int) -> None:
        """See `ChannelListener`."""
        if suppressed:
            error.about(suppressed=suppressed)
        self._log.warning(
            "Socket communication: bad frame", container_id=self._record.short_id, error=str(error)
        )
        self._reporter.error(self._record, error)


def log_message(
    way: str, record: ContainerRecord, message: Message, key: str | None = None
) -> None:
    """The guide's line for a message; costs nothing unless DEBUG is on.

    Args:
        key: the id that it went out with, if it did.
    """
    if _messages.isEnabledFor(logging.DEBUG):  # structlog's own costs ten times as much to ask
        told = f"Socket communication: {way}"
        body = message.to_json() if key is None else {**message.to_json(), "id": key}
        get_log(CHANNEL).debug(told, container_id=record.short_id, message=body)
