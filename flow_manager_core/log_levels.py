"""How much the manager's log tells, changed while it runs.

Only loggers of our own are touched: ``flow_manager`` and those below it. What a host application
does with their lines, and all its other loggers, stay as they are. Loggers belong to the process:
several managers in one share them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.log import ROOT, get_log
from flow_manager_core.models import Fault
from flow_manager_core.settings import LogLevel

_BELOW = f"{ROOT}."


class LogLevels:
    """Changes levels, and remembers what they were."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._log = get_log("logs")

    def told(self) -> dict[str, Any]:
        """The level of all, and the parts that have one of their own."""
        own = {part: logger.level for part, logger in _parts().items() if logger.level}
        return {
            "level": logging.getLevelName(logging.getLogger(ROOT).getEffectiveLevel()),
            "parts": {part: logging.getLevelName(own[part]) for part in sorted(own)},
        }

    def choose(self, level: LogLevel | None, part: str | None, by: Mapping[str, str]) -> None:
        """Change the level of all, or of one part and what is below it.

        Args:
            level: ``None``: of a part that it has none of its own, of all what it was at first.
            by: who asks, for the log.

        Raises:
            InvalidRequest: there is no such part.
        """
        logger = _logger_of(part)
        if level is None:
            new = logging.NOTSET if part else self._before.get(logger.name, logger.level)
        else:
            new = logging.getLevelNamesMapping()[level]
        self._before.setdefault(logger.name, logger.level)
        told = {"part": part or "all", "level": str(level or "as before"), **by}
        if logging.getLogger(_BELOW + "logs").isEnabledFor(logging.INFO):
            # What hides lines must not hide itself.
            self._log.info("Log level changed", **told)
            logger.setLevel(new)
        else:
            logger.setLevel(new)
            self._log.info("Log level changed", **told)

    def close(self) -> None:
        """Make all levels what they were."""
        for name, level in self._before.items():
            logging.getLogger(name).setLevel(level)
        self._before.clear()


def _parts() -> dict[str, logging.Logger]:
    known = dict(logging.Logger.manager.loggerDict)
    return {
        name.removeprefix(_BELOW): logger
        for name, logger in known.items()
        if name.startswith(_BELOW) and isinstance(logger, logging.Logger)
    }


def _logger_of(part: str | None) -> logging.Logger:
    if part is None:
        return logging.getLogger(ROOT)
    parts = _parts()
    if part not in parts:
        # No logger is made for what somebody asks: the process would keep it for ever.
        raise InvalidRequest([Fault("part", f"must be one of {', '.join(sorted(parts))}")])
    return parts[part]
