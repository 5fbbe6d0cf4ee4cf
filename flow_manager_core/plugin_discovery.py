"""Finds what is installed in the entry-point group ``flow_manager``.

A distribution whose metadata cannot be read is named, and hides no other one.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

from attrs import frozen

from flow_manager_core.hookspecs import PROJECT
from flow_manager_core.plugin_records import told

#: The distribution that brings each bundled provider: these are loaded first, so that nothing takes
#: their names, and are named where one is missing.
BUNDLED = {
    ("backend", "docker"): "flow-manager-docker",
    ("backend", "process"): "flow-manager-process",
    ("transport", "unix_socket"): "flow-manager-unix-socket",
    ("transport", "tcp"): "flow-manager-tcp",
    ("recovery", "backoff"): "flow-manager-backoff",
    ("recovery", "intensity"): "flow-manager-intensity",
    ("error_format", "problem"): "flow-manager-problem",
    ("frontend", "socketio"): "flow-manager-socketio",
    ("frontend", "rabbitmq"): "flow-manager-rabbitmq",
}

UNKNOWN = "unknown"


@frozen
class Candidate:
    """An entry point that was found.

    Args:
        entry: ``None`` where its distribution's metadata cannot be read.
        fault: why that is so.
    """

    name: str
    distribution: str
    version: str
    entry: importlib.metadata.EntryPoint | None
    fault: str = ""


def installed_plugins() -> list[Candidate]:
    """All entry points of the group: the bundled distributions' first, then by name."""
    found: dict[tuple[str, str], Candidate] = {}
    for distribution in importlib.metadata.distributions():
        for candidate in _candidates(distribution):
            # The first on the path is the one that is imported.
            found.setdefault((candidate.name, candidate.distribution), candidate)
    ours = set(BUNDLED.values())
    return sorted(
        found.values(), key=lambda c: (c.distribution not in ours, c.name, c.distribution)
    )


def _candidates(distribution: importlib.metadata.Distribution) -> Iterator[Candidate]:
    try:
        # Cheap, for the many that are none of ours.
        if PROJECT not in (distribution.read_text("entry_points.txt") or ""):
            return
        entries = list(distribution.entry_points.select(group=PROJECT))
        metadata = distribution.metadata  # the file is parsed anew for each time of asking
        name, version = metadata["Name"] or UNKNOWN, metadata["Version"] or ""
    except Exception as error:  # noqa: BLE001  # anything can stand in a file
        name = _name(distribution)
        yield Candidate(name, name, "", None, f"its metadata cannot be read: {told(error)}")
        return
    for entry in entries:
        yield Candidate(entry.name, name, version, entry)


def _name(distribution: importlib.metadata.Distribution) -> str:
    try:
        return str(distribution.metadata["Name"] or UNKNOWN)
    except Exception:  # noqa: BLE001  # then it has none
        return UNKNOWN
