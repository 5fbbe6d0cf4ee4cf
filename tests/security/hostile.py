"""Texts that are to forge, hide, colour, turn round or swell a line of the log."""

from __future__ import annotations

import json
from typing import Any

#: What nobody but the attacker would write; it must be found in no line's beginning.
FORGED = "[ERROR] forged by a flow"

HOSTILE = {
    "a newline": f"x\n{FORGED}",
    "a carriage return": f"x\r{FORGED}",
    "both": f"x\r\n{FORGED}",
    "a vertical tab and a form feed": f"x\x0b\x0c{FORGED}",
    "the separators of files, groups and records": f"x\x1c\x1d\x1e{FORGED}",
    "the next line of C1": f"x\x85{FORGED}",
    "Unicode's line separator": f"x\u2028{FORGED}",
    "Unicode's paragraph separator": f"x\u2029{FORGED}",
    "a clearing of the screen": "x\x1b[2J\x1b[1;1H",
    "a title of the window": "x\x1b]0;forged\x07",
    "a control sequence of C1": "x\x9b31m",
    "a turned-round text": "x\u202egnp.exe\u2066",
    "a zero-width space": "x\u200b\ufeff",
    "NUL, backspace and delete": "x\0\b\x7f",
    "half a character": "x\ud800y\udc00",
    "a quote and a backslash": 'x", "level": "info" \\',
    "a million characters": "x" * 1_000_000,
}

#: Characters of a line of the log: no event has more than a few long fields.
LONGEST = 64 * 1024


def refused_constant(name: str) -> Any:
    """Take ``NaN`` and the like for what they are: no JSON."""
    raise ValueError(f"{name} is no JSON")


def sound_lines(text: str, log_format: str) -> list[str]:
    """The lines of a log, once each is one, is readable, and is no longer than it may be."""
    lines = text.removesuffix("\n").split("\n")
    for line in lines:
        assert line.isprintable(), ascii(line)
        assert len(line) <= LONGEST, len(line)
        if log_format == "json":
            entry = json.loads(line, parse_constant=refused_constant)
            assert {"timestamp", "level", "logger", "event"} <= entry.keys()
            line.encode("ascii")
            str(entry).encode()  # no half characters, which other readers refuse
        else:
            assert line.startswith(("[DEBUG] ", "[INFO] ", "[WARNING] ", "[ERROR] ", "[CRITICAL] "))
            assert not line.startswith(FORGED)
    return lines
