"""JSON as every language reads it: without NaN, without numbers beyond a double."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn


def write(body: Mapping[str, Any]) -> bytes:
    """Write an object, compactly.

    Raises:
        TypeError, ValueError, RecursionError: it holds what JSON cannot say.
    """
    text = json.dumps(
        body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_json
    )
    return text.encode()


def read(body: bytes) -> Any:
    """Read a value; nothing at all is ``None``.

    Raises:
        ValueError, RecursionError: it is not strict JSON in UTF-8.
    """
    if not body:
        return None
    found = json.loads(body.decode(), parse_constant=_no_constant, parse_float=_finite)
    if b"\\u" in body:
        json.dumps(found, ensure_ascii=False).encode()  # fails for a lone surrogate
    return found


def _as_json(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
