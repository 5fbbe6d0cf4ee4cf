"""The activity feed: which events a person reads about, and in what words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flow_manager_core.events import (
    ActivityLogged,
    ContainerCrashed,
    ContainerRecovered,
    ErrorReported,
    Event,
    HealthWarned,
    MessageUndeliverable,
    ResourceAlerted,
    SocketConnected,
    SocketDisconnected,
    StatusChanged,
)
from flow_manager_core.trace import current_asker, current_request

#: The type of activity of a message from a flow.
MESSAGE_RECEIVED = "message_received"

Told = tuple[str, str, Mapping[str, Any]]


def _status(event: StatusChanged) -> Told:
    told = f"Status changed from {event.old_state} to {event.new_state}"
    return "status_change", told, {"old_state": event.old_state, "new_state": event.new_state}


def _crash(event: ContainerCrashed) -> Told:
    killed = " (out of memory)" if event.crash_details["oom_killed"] else ""
    told = f"Container crashed with exit code {event.exit_code}{killed}"
    return "container_crash", told, {"exit_code": event.exit_code}


def _recovered(event: ContainerRecovered) -> Told:
    told = f"Container runs again after attempt {event.attempt}"
    return "container_recovered", told, {"attempt": event.attempt}


def _connected(event: SocketConnected) -> Told:
    told = "Socket connected again" if event.reconnected else "Socket connected"
    return "socket_connected", told, {"reconnected": event.reconnected}


def _disconnected(event: SocketDisconnected) -> Told:
    return "socket_disconnected", f"Socket disconnected: {event.reason}", {"reason": event.reason}


def received(command: str) -> Told:
    """The words for a message from a flow."""
    return MESSAGE_RECEIVED, f"Message received: {command}", {"command": command}


def _undeliverable(event: MessageUndeliverable) -> Told:
    command = event.message.get("command")
    details = {"command": command, "message_id": event.message_id, "reason": event.reason}
    return "message_undeliverable", f"Message undeliverable ({event.reason}): {command}", details


def _error(event: ErrorReported) -> Told:
    details = {"error_type": event.error.get("error_type")}
    return "container_error", str(event.error.get("message", "")), details


def _warned(event: HealthWarned) -> Told:
    told = f"Health check failed {event.failures} times: {event.error}"
    return "health_warning", told, {"health": event.health, "failures": event.failures}


def _alerted(event: ResourceAlerted) -> Told:
    value, threshold = f"{event.current_value:.10g}", f"{event.threshold:.10g}"
    told = f"Resource alert: {event.resource_type} is {value}, the threshold is {threshold}"
    return "resource_alert", told, {"resource_type": event.resource_type}


_WORDS: Mapping[type[Event], Callable[[Any], Told]] = {
    StatusChanged: _status,
    ContainerCrashed: _crash,
    ContainerRecovered: _recovered,
    SocketConnected: _connected,
    SocketDisconnected: _disconnected,
    MessageUndeliverable: _undeliverable,
    ErrorReported: _error,
    HealthWarned: _warned,
    ResourceAlerted: _alerted,
}


def activity_of(event: Event) -> ActivityLogged | None:
    """The line of the feed for an event, ``None`` for events that are no news to a person."""
    words = _WORDS.get(type(event))
    if words is None:
        return None
    activity_type, message, details = words(event)
    return activity(event.container_id, activity_type, message, details)


def activity(
    container_id: str,
    activity_type: str,
    message: str,
    details: Mapping[str, Any],
    kind: type[ActivityLogged] = ActivityLogged,
) -> ActivityLogged:
    """A line of the feed, with the id of the request that caused it, and who asked (``by``)."""
    cause = {"request_id": current_request(), "by": current_asker()}
    traced = {**details, **{name: value for name, value in cause.items() if value is not None}}
    return kind(
        container_id=container_id, activity_type=activity_type, message=message, details=traced
    )
