"""JSON as we write it to the wire and into the journal: compact, and never what JSON is not."""

from __future__ import annotations

import json
from collections.abc import Mapping

import orjson


def dumps(value: object) -> bytes:
    """Write a value.

    Raises:
        TypeError, ValueError: it holds what JSON cannot say.
    """
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
