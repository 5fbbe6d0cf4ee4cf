"""JSON as the wire has it: compact, without NaN, written once for all receivers."""

from __future__ import annotations

import json
import re
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
    surrogate, the same key twice) the name is kept, so that it can be answered.

    Raises:
        ValueError, RecursionError: it cannot be read at all.
    """
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return _with_reason(json.loads(text, parse_int=_no_number), error)
    if _may_repeat_a_key(text, found):
        try:
            json.loads(text, object_pairs_hook=_once_each, parse_int=_no_number)
        except (_KeyTwice, RecursionError) as error:
            return _with_reason(found, error)
    return found


def _with_reason(found: Any, error: Exception) -> list[Any]:
    if isinstance(found, list) and found and isinstance(found[0], str):
        return [found[0], Unreadable(str(error))]
    raise ValueError(str(error))


class _KeyTwice(ValueError):
    """An object has the same key twice."""


def _once_each(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _KeyTwice(f"the key {twice[:100]!r} is there twice")


def _no_number(_digits: str) -> int:
    """Leave an integer unread: Python refuses long ones, and takes its time for them."""
    return 0


#: A key and its colon in loose writing.
_LOOSE = re.compile(r'"[ \t\n\r]+:')


def _may_repeat_a_key(text: str, found: Any) -> bool:
    """Whether a closer look is worth its time; orjson takes the last of two equal keys.

    Written again, the same data has as many ``":`` as it had before, in keys and in strings, unless
    a key was lost. A quote that was written as an escape would be one more, and could hide that.
    """
    if _LOOSE.search(text):
        return True
    marks = text.count('":')
    if marks < 2:
        return False
    try:
        return "\\u" in text or orjson.dumps(found).count(b'":') != marks
    except TypeError:  # deeper than orjson writes
        return True


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
