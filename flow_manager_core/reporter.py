"""Tells clients what happened: each event goes to the bus with its line of the activity feed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flow_manager_core.activities import activity, activity_of, received
from flow_manager_core.bus import EventBus
from flow_manager_core.errors import ChannelError, FlowManagerError
from flow_manager_core.events import (
    ErrorReported,
    Event,
    MessageReceived,
    PassingActivity,
    SocketConnected,
    SocketDisconnected,
)
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import Change
from flow_manager_core.log import ROOT, get_log
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import Message
from flow_manager_core.news import News
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.selection import Position

#: The part whose lines are about what goes over channels.
CHANNEL = "channel"
_messages = logging.getLogger(f"{ROOT}.{CHANNEL}")

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

    def wanted(self, kind: type[Event]) -> bool:
        """Whether anybody listens for events of a kind that is not kept."""
        return self._bus.wanted(kind)

    async def store(
        self, *changes: Change, events: Sequence[Event] = (), urgent: bool = False
    ) -> None:
        """Have changes made and the events that tell of them kept, in one commit.

        Args:
            urgent: they end or remove something; a full disk has room for that.

        Raises:
            SystemFault: nothing is kept, and nothing told.
        """
        told = [each for event in events for each in (event, activity_of(event)) if each]
        await self._journal.write(*changes, events=told, urgent=urgent)
        for event in events:
            self._metrics.event(event)
            if isinstance(event, MessageReceived):
                self._pass(event.container_id, *received(event.message["command"]))

    def message(self, record: ContainerRecord, message: Message) -> None:
        """Tell of a flow's message, and of its line of the feed if anybody wants those now."""
        event = MessageReceived(container_id=record.id, message=message.to_json())
        self._metrics.event(event)
        self._journal.tell(event)
        self._pass(record.id, *received(message.command))

    def sent(self, record: ContainerRecord, message: Message) -> None:
        """Count a message that went to a flow, and tell of it if anybody wants to know now."""
        self.counted()
        told = f"Message sent: {message.command}"
        self._pass(record.id, "message_sent", told, {"command": message.command})

    def counted(self) -> None:
        """Count a message that went to a flow."""
        self._metrics.message("sent")

    def _pass(
        self, container_id: str, activity_type: str, message: str, details: Mapping[str, Any]
    ) -> None:
        # There may be thousands a second, and what they tell of is kept, or was not promised.
        if self.wanted(PassingActivity):
            line = activity(container_id, activity_type, message, details, PassingActivity)
            self._journal.tell(line)

    def note(
        self, record: ContainerRecord, activity_type: str, message: str, **details: Any
    ) -> None:
        """Have a line of the feed kept and published that has no event of its own."""
        self._journal.tell(activity(record.id, activity_type, message, details))

    def done(
        self, record: ContainerRecord, activity_type: str, message: str, **details: Any
    ) -> None:
        """Have a line of the feed told that an operation came to what was asked for."""
        self.note(record, activity_type, message, **details, outcome="succeeded")

    def failed(self, container_id: str, operation: str, error: FlowManagerError) -> None:
        """Have a line of the feed told of an operation that changes something, and failed.

        Args:
            container_id: the full id; empty where there is no such container.
        """
        details = {
            "operation": operation,
            "error_type": error.error_type,
            "outcome": "failed",
            **({} if container_id else {"asked_for": error.details.get("container_id")}),
        }
        told = f"{operation} failed: {error.message}"
        self._journal.tell(activity(container_id, "container_error", told, details))

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
        """Whether the journal or subscribers are far behind."""
        return self._journal.crowded or self._bus.crowded

    async def relief(self) -> None:
        """Wait while they are."""
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
