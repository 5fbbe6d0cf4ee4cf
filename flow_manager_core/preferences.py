"""What clients have chosen for the manager as a whole, kept from one life to the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.log import get_log
from flow_manager_core.past import fact_entry

#: A preference's name among the facts begins with this.
PREFIX = "preference:"


class Preferences:
    """Plain JSON values by name.

    Args:
        facts: what the last life left.
    """

    def __init__(self, journal: JournalWriter, facts: Mapping[str, str]) -> None:
        self._journal = journal
        self._values = _read(facts)

    def get(self, name: str, default: Any) -> Any:
        """What was chosen; `default` where nothing was."""
        return self._values.get(name, default)

    async def choose(self, name: str, value: Any) -> None:
        """Choose, on disk first.

        Raises:
            SystemFault: it cannot be kept; it is as before.
        """
        await self._journal.write(fact_entry(PREFIX + name, json.dumps(value)))
        self._values[name] = value


def _read(facts: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in facts.items():
        if not name.startswith(PREFIX):
            continue
        try:
            values[name.removeprefix(PREFIX)] = json.loads(text)
        except ValueError:
            get_log("journal").warning("A preference cannot be read", name=name)
    return values
