"""Where the service's log goes and how a line looks; only ``serve`` calls this, a library never.

Everything that is said through `logging` in the process goes this way: the manager's lines at the
chosen level, and warnings and errors of the libraries below it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import ROOT, get_log, sentence
from flow_manager_core.log_file import LogFile
from flow_manager_core.log_hooks import caught_by
from flow_manager_core.log_text import json_text, one_line, told, traceback_line, traceback_text
from flow_manager_core.models import Fault
from flow_manager_core.settings import AUTO, LogFormat, Settings
from flow_manager_core.wire import timestamp

#: Bytes of one log file and how many older ones are kept.
FILE_SIZE = 10 * 1024 * 1024
FILES = 5
OFF = "off"


class ConsoleFormatter(logging.Formatter):
    """The guide's lines: ``[INFO] Container operation: create, container_id=...``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record in one line, its traceback too."""
        fields = _own_fields(record)
        if fields is None:
            line = f"{one_line(record.name)}: {one_line(_message(record))}"
        else:
            line = sentence(str(fields["event"]), _without_event(fields))
        if record.exc_info and record.exc_info[0]:
            line += f", exception={traceback_line(record.exc_info)}"
        return f"[{record.levelname}] {line}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Put the record's fields beside its time, level and logger."""
        own = {
            "timestamp": timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        body = {**own, **(_own_fields(record) or {"event": _message(record)}), **own}
        if record.exc_info and record.exc_info[0]:
            body["exception"] = traceback_text(record.exc_info)
        members = (f"{json_text(name)}: {json_text(value)}" for name, value in body.items())
        return "{" + ", ".join(members) + "}"


class _StandardError(logging.StreamHandler[Any]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's own
        """There is nowhere else to say that standard error is gone, and nothing to be done."""


def _own_fields(record: logging.LogRecord) -> Mapping[str, Any] | None:
    return getattr(record, "flow_manager", None)


def _without_event(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "event"}


def _message(record: logging.LogRecord) -> str:
    """What another library says; its mistakes with the arguments are not ours to fail for."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # the arguments may be anything
        return told(record.msg)


def log_path(settings: Settings) -> Path | None:
    """The log file: with ``auto`` one in the current folder, where that can be written."""
    if settings.log_file == OFF:
        return None
    if settings.log_file != AUTO:
        return Path(settings.log_file)
    return Path("flow-manager.log") if os.access(".", os.W_OK) else None


def _open_file(settings: Settings, stream: logging.Handler) -> tuple[logging.Handler | None, str]:
    """Open the log file; without one, say why."""
    path = log_path(settings)
    if path is None:
        return None, ""

    def tell(event: str, reason: str) -> None:
        fields = {"flow_manager": {"event": event, "reason": reason}}
        record = logging.LogRecord(f"{ROOT}.logs", logging.ERROR, "", 0, event, (), None)
        record.__dict__.update(fields)
        stream.handle(record)

    try:
        return LogFile(path, FILE_SIZE, FILES, tell), ""
    except OSError as error:
        why = error.strerror or str(error)
        if settings.log_file == AUTO:
            return None, f"{path} {why}"
        raise ConfigurationError([Fault("log_file", f"{path} cannot be used: {why}")]) from None


@contextmanager
def logging_to(settings: Settings) -> Iterator[None]:
    """Send the log to standard error and the log file, until the context ends.

    A file that was named must be fit for it. The one that nobody asked for is done without where
    a link or somebody else's file stands in its place: whoever may write to the current folder
    must neither redirect the log nor keep the service from starting.

    Raises:
        ConfigurationError: the log file that the settings name cannot be used.
    """
    formatter = JsonFormatter() if settings.log_format is LogFormat.JSON else ConsoleFormatter()
    with ExitStack() as stack:
        stream = _StandardError()
        stream.setFormatter(formatter)
        file, missing = _open_file(settings, stream)
        for handler in (stream, file):
            if handler is not None:
                handler.setFormatter(formatter)
                stack.enter_context(_attached(handler))
        level = logging.getLevelNamesMapping()[settings.log_level]
        stack.enter_context(_level(logging.getLogger(ROOT), level))
        stack.enter_context(_level(logging.getLogger(), max(level, logging.WARNING)))
        stack.enter_context(caught_by(logging.getLogger(f"{ROOT}.python")))
        if missing:
            get_log("logs").warning("The log goes to standard error alone", reason=missing)
        yield


@contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


@contextmanager
def _level(logger: logging.Logger, level: int) -> Iterator[None]:
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
