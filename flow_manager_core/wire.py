"""Between JSON and the manager's own words: requests in, events and answers out.

The one place where the shapes of the contract's answers are written down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import PurePath
from typing import Any, TypeVar, cast

import attrs

from flow_manager_core.errors import FlowManagerError, InvalidRequest
from flow_manager_core.events import (
    ErrorReported,
    Event,
    EventsNotKept,
    MessageReceived,
    OtherEvent,
)
from flow_manager_core.fields import CHECKS, MessageCommand
from flow_manager_core.history_requests import HistoryCursor
from flow_manager_core.jsontext import dumps
from flow_manager_core.models import (
    CheckType,
    ContainerState,
    Delivery,
    Fault,
    PortMapping,
    PullPolicy,
    ResourceUsage,
    RestartMode,
)
from flow_manager_core.requests import LogCursor, MessageField, Request, SendMessage, Since
from flow_manager_core.settings import LogLevel
from flow_manager_core.structuring import Faulty, as_hook, describe, faults_of, strict_converter

R = TypeVar("R", bound=Request)

#: Levels of an error's details; no operation's own come near.
DEEPEST = 16

_converter = strict_converter(
    RestartMode, PullPolicy, CheckType, ContainerState, LogLevel, Delivery
)
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


def _structure_place(value: object, _: Any) -> HistoryCursor:
    try:
        return HistoryCursor.parse(value)
    except ValueError:
        raise Faulty("must be the next of an answer") from None


_converter.register_structure_hook(HistoryCursor, _structure_place)
_converter.register_structure_hook(Since, _structure_since)
_converter.register_structure_hook(LogCursor, _structure_cursor)


def _read_send(payload: Any) -> SendMessage | None:
    """Read a message that looks as most do; ``None`` for what is to be judged strictly.

    Nearly all requests are these, and reading them strictly costs a sixth of the whole way.
    """
    message, ref = payload.get("message"), payload.get("container_id")
    if type(message) is not dict or {*map(type, payload), *map(type, message)} != {str}:
        return None
    command, reply = message.get("command"), payload.get("reply", False)
    known = payload.keys() <= _SENT and message.keys() <= _SAID and type(reply) is bool
    if not (known and _is_plain(ref, 128) and _is_plain(command, 1024)):
        return None
    said = MessageField(command=cast("MessageCommand", command), data=message.get("data"))
    return SendMessage(container_id=ref, message=said, reply=reply)


def _is_plain(value: object, most: int) -> bool:
    return type(value) is str and value.isascii() and value.isprintable() and 0 < len(value) <= most


_SENT, _SAID = {"container_id", "message", "reply"}, {"command", "data"}
_structure_send = _converter.get_structure_hook(SendMessage)
_converter.register_structure_hook(
    SendMessage, lambda payload, kind: _read_send(payload) or _structure_send(payload, kind)
)


def parse_request(kind: type[R], payload: object) -> R:
    """Turn a payload into a request.

    Raises:
        InvalidRequest: with every fault of the payload.
    """
    if not isinstance(payload, dict):
        told = "is missing" if payload is None else f"must be an object, not {describe(payload)}"
        raise InvalidRequest([Fault("payload", told)])
    try:
        return cast("R", _converter.get_structure_hook(kind)(payload, kind))
    except Exception as error:  # noqa: BLE001  # faults_of raises again what is no fault
        raise InvalidRequest(faults_of(error)) from None


def request_id_of(payload: object) -> str | None:
    """The payload's request id as far as it is well formed, for answers to bad requests."""
    found = payload.get("request_id") if isinstance(payload, dict) else None
    return found if isinstance(found, str) and 0 < len(found) <= 128 else None


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with ``Z``, to the millisecond."""
    return at.isoformat(timespec="milliseconds")[:23] + "Z"


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
    for name, key in _told_of(type(event)):
        body[key] = getattr(event, name)
    if isinstance(event, MessageReceived):
        body["message"] = dict(event.message)
    if isinstance(event, EventsNotKept):
        body["since"] = timestamp(event.since)
    body["timestamp"] = timestamp(event.timestamp)
    return body


def _own_fields(kind: type[Event]) -> tuple[tuple[str, str], ...]:
    """The fields that an event does not share with all events, and what clients call them."""
    shared = {attribute.name for attribute in attrs.fields(Event)}
    names = (a.name for a in attrs.fields(kind) if a.name not in shared)
    return tuple((name, name.removesuffix("_")) for name in names)


_told_of: Callable[[Any], tuple[tuple[str, str], ...]] = cache(_own_fields)


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
