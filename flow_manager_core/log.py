"""The manager's own loggers: structlog in front, the host application's `logging` behind.

Nothing is configured here, neither structlog's defaults nor a `logging` handler. Each line reaches
the standard library as a finished sentence, with its fields in the record's attribute
``flow_manager``; `logs` has the formatters that ``serve`` uses.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from flow_manager_core.log_text import one_line
from flow_manager_core.trace import current_request

ROOT = "flow_manager"
logging.getLogger(ROOT).addHandler(logging.NullHandler())

Log = structlog.stdlib.BoundLogger


def get_log(part: str) -> Log:
    """Return the logger of one part of the manager, such as ``supervisor``."""
    log: Log = structlog.wrap_logger(
        logging.getLogger(f"{ROOT}.{part}"),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _with_request,
            _to_record,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return log


def sentence(event: str, fields: Mapping[str, Any]) -> str:
    """The guide's form of a line: ``event, key=value, key=value``."""
    return ", ".join([one_line(event), *(f"{k}={one_line(v)}" for k, v in fields.items())])


def _with_request(
    _logger: object, _method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Name the request that the line is a part of."""
    request_id = current_request()
    return event_dict if request_id is None else {"request_id": request_id, **event_dict}


def _to_record(
    _logger: object, _method: str, event_dict: MutableMapping[str, Any]
) -> tuple[tuple[object, ...], dict[str, Any]]:
    exc_info = event_dict.pop("exc_info", None)
    event = str(event_dict.pop("event", ""))
    text = sentence(event, event_dict)
    extra = {"flow_manager": {"event": event, **event_dict}}
    return ("%s", text), {"extra": extra, "exc_info": exc_info}
