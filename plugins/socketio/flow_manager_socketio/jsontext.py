"""JSON as the wire has it: compact, without NaN, written once for all receivers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen


@frozen
class Unreadable:
    """Stands in for arguments that are not the JSON which every language reads alike."""

    reason: str


def encode(body: Mapping[str, Any]) -> orjson.Fragment:
    """Write an object once, as text that can be put into any number of packets.

    Raises:
        TypeError, ValueError: it holds what JSON cannot say.
    """
    return orjson.Fragment(_dumps(body))


def dumps(value: object, **_options: object) -> str:
    """Write a packet's data; python-socketio passes ``separators``, which are compact anyway."""
    return _dumps(value).decode()


def loads(text: str) -> Any:
    """Read a packet's data.

    Of a request whose arguments are not strict JSON (NaN, a number beyond a double, a lone
    surrogate) the name is kept, so that it can be answered.

    Raises:
        ValueError, RecursionError: it cannot be read at all.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        found = json.loads(text)
        if not (isinstance(found, list) and found and isinstance(found[0], str)):
            raise
        return [found[0], Unreadable(str(error))]


def _dumps(value: object) -> bytes:
    try:
        return orjson.dumps(value, default=_as_json)
    except TypeError:
        # Integers beyond 64 bits and deep nesting, which flows may send, are beyond orjson.
        text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=_as_json)
        return text.encode()


def _as_json(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
