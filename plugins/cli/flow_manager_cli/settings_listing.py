"""``flow-manager config``: every setting, its value and where that came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flow_manager_core.configuration import read_configuration
from flow_manager_core.service import CONFIGURATION_EXIT, tell_faults
from flow_manager_core.setting_display import SettingRow


def list_settings(
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    say: Callable[[str], None],
    *,
    as_json: bool,
) -> int:
    """Print the settings that ``serve`` would have, and return the exit code.

    Returns:
        2 if they are wrong, with one line a fault on standard error and no settings; else 0.
    """
    found = read_configuration(given, environ)
    tell_faults(found.faults)
    if as_json:
        faults = [{"field": fault.field, "message": fault.message} for fault in found.faults]
        settings = [] if found.faults else [_row(row) for row in found.rows]
        notes = [*found.notes, *found.cautions]
        body = {"settings": settings, "faults": faults, "notes": notes}
        say(json.dumps(body, indent=2))
    elif not found.faults:
        for line in toml_lines(found.rows):
            say(line)
        for note in (*found.notes, *found.cautions):
            say(f"# Note: {_one_line(note)}")
    return CONFIGURATION_EXIT if found.faults else 0


def toml_lines(rows: Sequence[SettingRow]) -> Iterator[str]:
    """The settings as a file of settings, their origins as comments.

    What cannot stand in such a file is a comment as a whole: secrets, and what has no value.
    """
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            yield f"\n[{section}]"
        told = f"{row.name} = {_toml(row.value)}  # {_one_line(row.origin)}"
        hidden = row.value is None or (row.secret and row.value != "")
        yield f"# {told}" if hidden else told


def _row(row: SettingRow) -> dict[str, Any]:
    return {
        "name": f"{row.section}.{row.name}" if row.section else row.name,
        "section": row.section or None,
        "value": row.value,
        "origin": row.origin,
        "secret": row.secret,
    }


def _toml(value: Any) -> str:
    """A value as TOML writes it; JSON's texts, lists, numbers and truths are TOML's too."""
    if value is None:
        return "(none)"
    # TOML wants DEL escaped, which JSON does not.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
