"""What python-socketio and python-engineio say, in the manager's own log."""

from __future__ import annotations

import sys

from flow_manager_core.log import Log


class WireLog:
    """A logger for the two libraries, in place of theirs.

    Given a flag, they set a level and a handler on process-wide loggers. Given a logger, they
    write every packet at INFO, with the secrets in it, and a traceback for each malformed one.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def info(self, message: str, *args: object) -> None:
        """Left out: packets, with all that is in them."""

    def warning(self, message: str, *args: object) -> None:
        """A client's slip."""
        self._log.debug("Socket.IO notice", text=_filled(message, args))

    def error(self, message: str, *args: object) -> None:
        """A client's slip as well: bad sessions, bad transports."""
        self._log.debug("Socket.IO notice", text=_filled(message, args))

    def exception(self, message: str, *args: object) -> None:
        """A failure inside the library."""
        error = sys.exception()
        self._log.warning("Socket.IO failure", text=_filled(message, args), error=repr(error)[:500])


def _filled(message: str, args: tuple[object, ...]) -> str:
    return (message % args if args else message)[:500]
