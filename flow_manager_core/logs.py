"""Where the service's log goes and how a line looks; only ``serve`` calls this, a library never."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import ROOT
from flow_manager_core.models import Fault
from flow_manager_core.settings import AUTO, LogFormat, Settings
from flow_manager_core.wire import timestamp

#: Bytes of one log file and how many older ones are kept.
FILE_SIZE = 10 * 1024 * 1024
FILES = 5
OFF = "off"


class ConsoleFormatter(logging.Formatter):
    """The guide's lines: ``[INFO] Container operation: create, container_id=...``."""

    def __init__(self) -> None:
        super().__init__("[%(levelname)s] %(message)s")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Put the record's fields beside its time, level and logger."""
        fields = getattr(record, "flow_manager", None) or {"event": record.getMessage()}
        body = {
            "timestamp": timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            **fields,
        }
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(body, default=str)


def log_path(settings: Settings) -> Path | None:
    """The log file: with ``auto`` one in the current folder, where that can be written."""
    if settings.log_file == OFF:
        return None
    if settings.log_file != AUTO:
        return Path(settings.log_file)
    return Path("flow-manager.log") if os.access(".", os.W_OK) else None


def _file_handler(path: Path) -> logging.Handler:
    try:
        return logging.handlers.RotatingFileHandler(
            path, maxBytes=FILE_SIZE, backupCount=FILES, encoding="utf-8"
        )
    except OSError as error:
        told = f"{path} cannot be written: {error.strerror}"
        raise ConfigurationError([Fault("log_file", told)]) from None


@contextmanager
def logging_to(settings: Settings) -> Iterator[None]:
    """Send the log to standard error and the log file, until the context ends.

    Raises:
        ConfigurationError: the log file cannot be written.
    """
    logger = logging.getLogger(ROOT)
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    path = log_path(settings)
    if path is not None:
        handlers.append(_file_handler(path))
    formatter = JsonFormatter() if settings.log_format is LogFormat.JSON else ConsoleFormatter()
    before = logger.level
    logger.setLevel(settings.log_level)
    for handler in handlers:
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
