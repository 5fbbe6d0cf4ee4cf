"""Between JSON and the manager's own words: requests in, events and answers out.

The one place where the shapes of the contract's answers are written down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Any, TypeVar

import attrs

from flow_manager_core.errors import FlowManagerError, InvalidRequest
from flow_manager_core.events import ErrorReported, Event, MessageReceived, OtherEvent
from flow_manager_core.fields import CHECKS
from flow_manager_core.jsontext import dumps
from flow_manager_core.models import (
    CheckType,
    ContainerState,
    Fault,
    PortMapping,
    PullPolicy,
    ResourceUsage,
    RestartMode,
)
from flow_manager_core.requests import LogCursor, Request, Since
from flow_manager_core.settings import LogLevel
from flow_manager_core.structuring import Faulty, as_hook, describe, faults_of, strict_converter

R = TypeVar("R", bound=Request)

#: Levels of an error's details; no operation's own come near.
DEEPEST = 16
#: Fields of events that `event_body` does not take as they are.
_EVERY_EVENT = frozenset({"container_id", "timestamp", "seq", "epoch", "encoded"})

_converter = strict_converter(RestartMode, PullPolicy, CheckType, ContainerState, LogLevel)
for _kind, _check in CHECKS.items():
    _converter.register_structure_hook(_kind, as_hook(_check))


def _structure_since(value: object, _: Any) -> Since:
    try:
        return Since.parse(value)
    except (ValueError, OverflowError, OSError):
        raise Faulty("must be seconds since the epoch, or a time in RFC 3339") from None


def _structure_cursor(value: object, _: Any) -> LogCursor:
    try:
        return LogCursor.parse(value)
    except (ValueError, OverflowError):
        raise Faulty("must be the cursor of an answer or event") from None


_converter.register_structure_hook(Since, _structure_since)
_converter.register_structure_hook(LogCursor, _structure_cursor)


def parse_request(kind: type[R], payload: object) -> R:
    """Turn a payload into a request.

    Raises:
        InvalidRequest: with every fault of the payload.
    """
    if not isinstance(payload, dict):
        told = "is missing" if payload is None else f"must be an object, not {describe(payload)}"
        raise InvalidRequest([Fault("payload", told)])
    try:
        return _converter.structure(payload, kind)
    except Exception as error:  # noqa: BLE001  # faults_of raises again what is no fault
        raise InvalidRequest(faults_of(error)) from None


def request_id_of(payload: object) -> str | None:
    """The payload's request id as far as it is well formed, for answers to bad requests."""
    found = payload.get("request_id") if isinstance(payload, dict) else None
    return found if isinstance(found, str) and 0 < len(found) <= 128 else None


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with ``Z``, to the millisecond."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def plain(value: object, depth: int = DEEPEST) -> Any:
    """A value as JSON that every language reads, whatever it is.

    A lone surrogate becomes U+FFFD, a number that is none ``null``, one beyond 64 bits
    hexadecimal text. Of what JSON cannot say only the type is told: it may hold a secret.

    Args:
        depth: levels that are kept of nested objects and lists.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, PurePath)):
        return _plain_text(str(value))
    if isinstance(value, (int, float)):
        return _plain_number(value)
    if isinstance(value, Mapping) and depth:
        return {str(plain(k, 0)): plain(v, depth - 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and depth:
        return [plain(item, depth - 1) for item in value]
    return f"<{type(value).__name__}>"


def _plain_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _plain_number(value: float) -> object:
    if isinstance(value, int):
        return int(value) if value.bit_length() <= 63 else hex(value)
    return float(value) if math.isfinite(value) else None


def standard_format(error: FlowManagerError, at: datetime) -> dict[str, Any]:
    """The guide's error object."""
    details = {**error.details, "retryable": error.retryable, "hint": error.hint}
    return {
        "error": True,
        "error_type": error.error_type,
        "message": _plain_text(str(error.message)),
        "details": plain(details),
        "timestamp": timestamp(at),
    }


def event_body(event: Event) -> dict[str, Any]:
    """The event as clients get it, but for its number; `ErrorReported` is the error object."""
    if isinstance(event, ErrorReported):
        return dict(event.error)
    if isinstance(event, OtherEvent):
        return dict(event.body)
    body: dict[str, Any] = {"container_id": event.container_id[:12]}
    for attribute in attrs.fields(type(event)):
        if attribute.name not in _EVERY_EVENT:
            body[attribute.name.removesuffix("_")] = getattr(event, attribute.name)
    if isinstance(event, MessageReceived):
        body["message"] = dict(event.message)
    body["timestamp"] = timestamp(event.timestamp)
    return body


def numbered(event: Event, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """An event's body with its place in the journal, where it has one."""
    return {**body, "seq": event.seq, "epoch": event.epoch} if event.epoch else body


def event_json(event: Event) -> bytes:
    """An event's body with its place in the journal, as JSON; what is written already is reused.

    Raises:
        TypeError, ValueError, RecursionError: it holds what JSON cannot say.
    """
    if not event.epoch:
        return event.encoded or dumps(event_body(event))
    if not event.encoded or isinstance(event, ErrorReported):
        # An error format may have fields of these names.
        return dumps(numbered(event, event_body(event)))
    return b'%b,"seq":%d,"epoch":%b}' % (event.encoded[:-1], event.seq, dumps(event.epoch))


def ports_body(ports: tuple[PortMapping, ...]) -> dict[str, int]:
    """Ports as clients write them: container port to host port."""
    return {port.key: port.host_port for port in ports}


def usage_body(usage: ResourceUsage | None) -> Mapping[str, Any] | None:
    """Resource use as clients get it; ``None`` when nothing was measured."""
    if usage is None:
        return None
    return {**attrs.asdict(usage), "timestamp": timestamp(usage.timestamp)}
