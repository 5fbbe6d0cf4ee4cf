"""JSON as we write it into the journal: compact, and never what JSON is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

#: What begins a text that only Python's own reader gives back as it was. JSON lets it be there.
BEYOND = b" "


def dumps(value: object) -> bytes:
    """Write a value.

    Raises:
        TypeError, ValueError, RecursionError: it holds what JSON cannot say.
    """
    try:
        return orjson.dumps(value, default=_as_json)
    except TypeError:
        # Integers beyond 64 bits and deep nesting, which flows may send, are beyond orjson.
        text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=_as_json)
        return BEYOND + text.encode()


def loads(text: bytes) -> Any:
    """Read what `dumps` wrote.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(text) if text.startswith(BEYOND) else orjson.loads(text)


def _as_json(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
