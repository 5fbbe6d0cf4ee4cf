"""``flow-manager journal``: a look at the file, a new one for a damaged one, its content."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flow_manager_core.configuration import read_configuration
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.journal.export import EXPORTS, exported
from flow_manager_core.journal_repair import faults_of_journal, rebuild_journal
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_core.sqlite.file import UNREADABLE

#: Exit codes: it is as it should be; something is wrong with the file.
SOUND, AMISS = 0, 1

Say = Callable[[str], None]


def check_journal(given: Mapping[str, Any], environ: Mapping[str, str], say: Say) -> int:
    """Print what is wrong with the journal, one line a fault, and return the exit code."""
    folder = _folder(_settings(given, environ))
    faults = faults_of_journal(folder)
    for fault in faults:
        say(_printable(fault))
    if not faults:
        say(f"The journal in {folder} is sound.")
    return AMISS if faults else SOUND


def rebuild(given: Mapping[str, Any], environ: Mapping[str, str], say: Say) -> int:
    """Begin a new journal where the old one is damaged, and say what became of that one."""
    settings = _settings(given, environ)
    done = rebuild_journal(settings)
    if done is None:
        say(f"The journal in {_folder(settings)} is sound; nothing was done.")
        return SOUND
    say(f"The damaged file is now {done.aside}")
    saved = ", ".join(f"{number} of {table}" for table, number in done.saved.items() if number)
    say(f"Entries that could be saved: {saved or 'none'}")
    say("Containers are found again by their labels at the next start.")
    return SOUND


def export(
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    say: Say,
    complain: Say,
    *,
    tables: Sequence[str],
    since: int,
) -> int:
    """Print what the journal holds, one JSON object a line, and return the exit code."""
    folder = _folder(_settings(given, environ))
    try:
        for row in exported(folder, tables or tuple(EXPORTS), since):
            say(json.dumps(row))
    except UNREADABLE as error:
        complain(_printable(f"flow-manager: the journal in {folder} cannot be read: {error}"))
        return AMISS
    return SOUND


def _settings(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings that ``serve`` would have; of their faults those that matter here are raised."""
    found = read_configuration(given, environ)
    ours = ("instance", "state_dir", "journal", "config_file")
    faults = [fault for fault in found.faults if fault.field in ours]
    if found.settings.journal != "sqlite" and not faults:
        told = f"is {found.settings.journal}: there is no file that these commands know"
        faults = [Fault("journal", told)]
    if faults:
        raise ConfigurationError(faults)
    return found.settings


def _folder(settings: Settings) -> Path:
    return settings.state_dir / "instances" / settings.instance


def _printable(text: str) -> str:
    """What stands in a damaged file must not act upon the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
