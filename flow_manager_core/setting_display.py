"""Settings as an operator may see them: with their origins, and without their secrets."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from flow_manager_core.setting_values import HIDDEN

#: What stands before the host of a URL, up to the last @: credentials may hold anything.
CREDENTIALS = re.compile(r"(?<=://)\S*@")


@frozen
class SettingRow:
    """One setting, as it may be shown.

    Args:
        section: empty for the manager's own.
        value: a JSON value; a secret one is masked.
        origin: ``command line``, ``environment NAME``, the file's path, or ``default``.
    """

    section: str
    name: str
    value: Any
    origin: str
    secret: bool = False


def shown(value: Any, *, secret: bool) -> Any:
    """The value as JSON; of a secret one nothing but whether it is set, and a URL's host.

    Credentials in a URL are hidden in every value.
    """
    if secret:
        return _masked(value)
    if isinstance(value, tuple):
        return [shown(one, secret=False) for one in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (str, Path)):
        return CREDENTIALS.sub(f"{HIDDEN}@", str(value))
    return value


def _masked(value: Any) -> Any:
    """Hide a value; of a URL with credentials its scheme and host stay, where that is certain."""
    if value in ("", (), None):
        return [] if value == () else value
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        port = f":{parts.port}" if parts.port else ""
        before, at, _ = parts.netloc.rpartition("@")
        certain = before and at and parts.hostname and "@" not in value[value.index(at) + 1 :]
    except ValueError:
        return HIDDEN
    return f"{parts.scheme}://{HIDDEN}@{parts.hostname}{port}/{HIDDEN}" if certain else HIDDEN
