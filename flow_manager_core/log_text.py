"""Text for the log: one line and of a bounded length, whatever a flow or a client put into it.

Nothing here raises: a line that cannot be written as it should be is written as it can.
"""

from __future__ import annotations

import json
import re
import traceback
from types import TracebackType

#: Characters of one value, of a traceback, and of a line of somebody else's logger. A frame may
#: have a million and an exception may quote it.
FIELD_LIMIT = 8 * 1024
TRACEBACK_LIMIT = 16 * 1024

#: In JSON that is ASCII: an escaped backslash, a pair of surrogates, or one that is alone.
_SURROGATES = re.compile(
    r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\ud[89a-f][0-9a-f]{2}", re.IGNORECASE
)
_LONE = 6

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def one_line(value: object, most: int = FIELD_LIMIT) -> str:
    """Write a value for people: nothing in it can begin, hide, colour or turn round a line.

    Args:
        most: characters that are kept, before they are escaped.
    """
    text = cut(value if isinstance(value, str) else _as_json(value), most)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def json_text(value: object) -> str:
    """Write a value as JSON that every reader takes, in ASCII; a long one as text that is cut."""
    try:
        text = json.dumps(value, allow_nan=False, default=told)
    except (ValueError, TypeError, RecursionError):
        text = json.dumps(one_line(value))
    if len(text) > FIELD_LIMIT:
        text = json.dumps(cut(value if isinstance(value, str) else text, FIELD_LIMIT))
    return _SURROGATES.sub(lambda m: m[0] if _paired(m[0]) else "\\ufffd", text)


def cut(text: str, most: int) -> str:
    """Keep the beginning, and say how much there was."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def traceback_text(exc_info: ExcInfo) -> str:
    """Python's own lines; of too many the beginning and the end, where the error is named."""
    text = "".join(traceback.format_exception(*exc_info)).rstrip()
    if len(text) <= TRACEBACK_LIMIT:
        return text
    half = TRACEBACK_LIMIT // 2
    return f"{text[:half]}\n... ({len(text)} characters)\n{text[-half:]}"


def traceback_line(exc_info: ExcInfo) -> str:
    """The same in one line."""
    lines = traceback_text(exc_info).splitlines()
    return one_line(" | ".join(line.strip() for line in lines), 2 * TRACEBACK_LIMIT)


def told(value: object) -> str:
    """What an object says of itself; its type where it fails to."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # anything may come from somebody else's class
        return f"<{type(value).__name__}>"


def _as_json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=told)
    except (ValueError, TypeError, RecursionError):
        return f"<{type(value).__name__}>"


def _paired(found: str) -> bool:
    return len(found) != _LONE
