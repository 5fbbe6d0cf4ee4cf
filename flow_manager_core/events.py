"""What the manager tells of its own accord: one class an event, named in the past tense.

The class attribute `name` is the event's name on the wire; its fields are the event's body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from attrs import field, frozen

from flow_manager_core.models import ContainerState, Health


def now() -> datetime:
    """The wall clock, for timestamps that are shown; never for measuring time."""
    return datetime.now(UTC)


@frozen(kw_only=True)
class Event:
    """What every event carries. `container_id` is the full id.

    Args:
        seq: its number in the journal; 0: it is not in there.
        epoch: the name of the journal in whose order it is numbered.
        encoded: its body as JSON, once somebody has written it; see `wire.event_json`.
    """

    name: ClassVar[str]
    #: Whether it is kept in the journal. What a later one replaces, or one client alone is told,
    #: is not.
    kept: ClassVar[bool] = True
    #: Whether the journal may let it wait a moment for others: there may be thousands a second.
    gathers: ClassVar[bool] = False
    container_id: str
    timestamp: datetime = field(factory=now)
    seq: int = field(default=0, eq=False)
    epoch: str = field(default="", eq=False)
    encoded: bytes = field(default=b"", eq=False, repr=False)


@frozen(kw_only=True)
class StatusChanged(Event):
    """A container's state changed, whoever changed it."""

    name: ClassVar[str] = "status_changed"
    old_state: ContainerState
    new_state: ContainerState


@frozen(kw_only=True)
class ContainerCrashed(Event):
    """A container ended, not asked to, with a code other than 0 or killed for memory.

    Args:
        crash_details: ``error``, ``oom_killed``, ``signal``, ``logs`` (the tail of the output).
    """

    name: ClassVar[str] = "container_crashed"
    exit_code: int | None
    crash_details: Mapping[str, Any]


@frozen(kw_only=True)
class RecoveryScheduled(Event):
    """A restart is due in `delay` seconds; `attempt` counts from 1."""

    name: ClassVar[str] = "recovery_scheduled"
    attempt: int
    delay: float


@frozen(kw_only=True)
class ContainerRecovered(Event):
    """A container runs again after automatic recovery."""

    name: ClassVar[str] = "container_recovered"
    attempt: int


@frozen(kw_only=True)
class RecoveryGaveUp(Event):
    """Automatic recovery ended without success."""

    name: ClassVar[str] = "recovery_gave_up"
    attempts: int
    reason: str


@frozen(kw_only=True)
class SocketConnected(Event):
    """A flow's channel came up; `reconnected` when it had been up before."""

    name: ClassVar[str] = "socket_connected"
    reconnected: bool


@frozen(kw_only=True)
class SocketDisconnected(Event):
    """A flow's channel went down."""

    name: ClassVar[str] = "socket_disconnected"
    reason: str


@frozen(kw_only=True)
class MessageReceived(Event):
    """A flow said something that was no answer somebody waits for; `message` is its frame."""

    name: ClassVar[str] = "message_received"
    gathers: ClassVar[bool] = True
    message: Mapping[str, Any]


@frozen(kw_only=True)
class MessageDelivered(Event):
    """A flow acknowledged a durable message: it has dealt with it."""

    name: ClassVar[str] = "message_delivered"
    gathers: ClassVar[bool] = True
    message_id: str


@frozen(kw_only=True)
class MessageUndeliverable(Event):
    """The way of a durable message ended without the flow's acknowledgement.

    Args:
        reason: ``ttl``, ``max_deliveries`` or ``container_deleted``.
        attempts: connections that ended while the flow had it.
        message: as it was to be delivered.
    """

    name: ClassVar[str] = "message_undeliverable"
    message_id: str
    reason: str
    attempts: int
    message: Mapping[str, Any]


@frozen(kw_only=True)
class HealthWarned(Event):
    """A health check failed."""

    name: ClassVar[str] = "container_health_warning"
    health: Health
    failures: int
    error: str


@frozen(kw_only=True)
class ResourceAlerted(Event):
    """A container's use of a resource came to its threshold; told once until it fell back.

    Args:
        resource_type: a field of ``resource_usage``.
        usage_data: the whole sample.
    """

    name: ClassVar[str] = "resource_alert"
    resource_type: str
    current_value: float
    threshold: float
    usage_data: Mapping[str, Any]


@frozen(kw_only=True)
class ContainerStatusUpdated(Event):
    """How a running container is, every monitoring interval; `status` as a request would get it."""

    name: ClassVar[str] = "container_status_update"
    kept: ClassVar[bool] = False
    status: Mapping[str, Any]


@frozen(kw_only=True)
class ContainerLogged(Event):
    """A container wrote output; told to those who follow it, each by itself.

    Args:
        follow_id: which following this belongs to.
        lines: ``timestamp``, ``stream`` and ``line`` of each.
        cursor: where to go on after the last of them.
    """

    name: ClassVar[str] = "container_log"
    kept: ClassVar[bool] = False
    follow_id: str
    lines: Sequence[Mapping[str, Any]]
    cursor: str


@frozen(kw_only=True)
class LogFollowingEnded(Event):
    """No more output comes for a following that its client has not ended itself."""

    name: ClassVar[str] = "container_log_ended"
    kept: ClassVar[bool] = False
    follow_id: str
    reason: str


@frozen(kw_only=True)
class ImagePullProgressed(Event):
    """How far a pull has come. `container_id` is empty: the container is not made yet."""

    name: ClassVar[str] = "image_pull_progress"
    kept: ClassVar[bool] = False
    image: str
    status: str
    layer: str | None = None
    current: int | None = None
    total: int | None = None
    request_id: str | None = None


@frozen(kw_only=True)
class BackupProgressed(Event):
    """How far a backup, a restore or a check of one has come.

    Args:
        container_id: empty until a restore has made its container.
        phase: ``save``, ``verify`` or ``restore``, and after a colon the part.
        current: bytes of the phase.
        total: bytes, where they are known before.
    """

    name: ClassVar[str] = "backup_progress"
    kept: ClassVar[bool] = False
    path: str
    phase: str
    current: int
    total: int | None = None
    request_id: str | None = None


@frozen(kw_only=True)
class ErrorReported(Event):
    """A failure that no request asked about, such as a bad frame; `error` is the error object."""

    name: ClassVar[str] = "error"
    error: Mapping[str, Any]


@frozen(kw_only=True)
class ManagerStopping(Event):
    """The manager closes: no more requests are taken. `container_id` is empty."""

    name: ClassVar[str] = "manager_stopping"
    kept: ClassVar[bool] = False
    reason: str


@frozen(kw_only=True)
class ActivityLogged(Event):
    """A user-visible activity, for a feed that a person reads."""

    name: ClassVar[str] = "activity_log"
    activity_type: str
    message: str
    details: Mapping[str, Any]


@frozen(kw_only=True)
class PassingActivity(ActivityLogged):
    """A line of the feed that is not kept: the message it tells of is, or was not promised."""

    kept: ClassVar[bool] = False


@frozen(kw_only=True)
class EventsNotKept(Event):
    """Events are missing in the journal's log, before this one; they were told as they happened.

    Args:
        reason: why they could not be kept.
        count: how many they are.
        since: when the first of them was told.
    """

    name: ClassVar[str] = "gap"
    reason: str
    count: int
    since: datetime


@frozen(kw_only=True)
class GapFound(Event):
    """Events that this client cannot be given; a snapshot follows.

    Args:
        epoch_: the journal whose numbers these are.
        from_: the first that is missing.
        to: the last.
        reason: ``epoch`` (the position is another journal's), ``ahead`` (beyond this one's last),
            ``retention`` (they are kept no longer).
    """

    name: ClassVar[str] = "gap"
    kept: ClassVar[bool] = False
    epoch_: str
    from_: int
    to: int
    reason: str


@frozen(kw_only=True)
class SnapshotTaken(Event):
    """How containers are, for a client that was told of a gap; the last part carries `seq`.

    Args:
        containers: of each, what a ``container_status`` carries.
        part: of so many `parts`, counted from 1.
        complete: whether the engine was reached since the manager's start; if not, there may be
            more containers.
    """

    name: ClassVar[str] = "snapshot"
    kept: ClassVar[bool] = False
    containers: Sequence[Mapping[str, Any]]
    part: int
    parts: int
    complete: bool


@frozen(kw_only=True)
class OtherEvent(Event):
    """An event of the log whose class is not known here: another version has written it."""

    kind: str
    body: Mapping[str, Any]

    @property
    def name(self) -> str:  # type: ignore[override]
        """The event's name on the wire."""
        return self.kind


def event_kinds() -> Mapping[str, type[Event]]:
    """The classes of this module by their events' names; of two with one name, the kept one."""
    classes = [c for c in globals().values() if isinstance(c, type) and issubclass(c, Event)]
    named = [c for c in classes if "name" in vars(c) and c is not OtherEvent]
    return {c.name: c for c in sorted(named, key=lambda kind: kind.kept)}
