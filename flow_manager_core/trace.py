"""Which request a task is working for, and who asked: seen in the log and in activities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

_request_id: ContextVar[str | None] = ContextVar("flow_manager_request_id", default=None)
_asker: ContextVar[str | None] = ContextVar("flow_manager_asker", default=None)


@contextmanager
def tracing(request_id: str | None, by: str | None = None) -> Iterator[None]:
    """Do what follows on behalf of a request.

    Args:
        by: who asked, as `current_asker` tells it; ``None`` for the host application itself.
    """
    asker = _asker.set(by)
    token = None if request_id is None else _request_id.set(request_id)
    try:
        if token is None:
            yield
            return
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            yield
    finally:
        if token is not None:
            _request_id.reset(token)
        _asker.reset(asker)


@contextmanager
def for_nobody() -> Iterator[None]:
    """Start what outlives the request: its tasks must not go on in the request's name."""
    token, asker = _request_id.set(None), _asker.set(None)
    bound = structlog.contextvars.get_contextvars()
    structlog.contextvars.unbind_contextvars("request_id")
    try:
        yield
    finally:
        _request_id.reset(token)
        _asker.reset(asker)
        structlog.contextvars.bind_contextvars(**bound)


def current_request() -> str | None:
    """The id of the request that this task works for."""
    return _request_id.get()


def current_asker() -> str | None:
    """The name of who asked for what this task does: of a token, or of a frontend."""
    return _asker.get()
