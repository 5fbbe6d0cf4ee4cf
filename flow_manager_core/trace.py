"""Which request a task is working for, and who asked: seen in the log and in activities.

A task that a request began may outlive it, and inherits what its beginner had in its context. It
works for the request until that was answered, and for nobody from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token

import structlog
from attrs import define


@define(eq=False)
class _Work:
    """What is done on behalf of one request, from its entering on; shared by all who do it."""

    request_id: str | None
    asker: str | None
    over: bool = False
    _token: Token[_Work | None] | None = None

    def __enter__(self) -> None:
        self._token = _current.set(self)

    def __exit__(self, *_raised: object) -> None:
        self.over = True
        assert self._token is not None
        _current.reset(self._token)


_current: ContextVar[_Work | None] = ContextVar("flow_manager_work", default=None)


def tracing(request_id: str | None, by: str | None = None) -> AbstractContextManager[None]:
    """Do what follows on behalf of a request.

    Args:
        by: who asked, as `current_asker` tells it; ``None`` for the host application itself.
    """
    return _Work(request_id or current_request(), by)


@contextmanager
def for_nobody() -> Iterator[None]:
    """Start what outlives the request: its tasks must not go on in the request's name."""
    token = _current.set(None)
    # A host application may have bound one of its own, which would be theirs for ever.
    bound = structlog.contextvars.get_contextvars()
    structlog.contextvars.unbind_contextvars("request_id")
    try:
        yield
    finally:
        _current.reset(token)
        structlog.contextvars.bind_contextvars(**bound)


def current_request() -> str | None:
    """The id of the request that this task works for."""
    work = _current.get()
    return None if work is None or work.over else work.request_id


def current_asker() -> str | None:
    """The name of who asked for what this task does: of a token, or of a frontend."""
    work = _current.get()
    return None if work is None or work.over else work.asker
