"""Calls of aio-pika's, each in a task of its own and within a deadline.

When its connection ends, aiormq fails whatever waits on it, and now and then by throwing a
cancellation that nobody asked for. In a task of ours that would pass for our own end; here it is
what it means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

#: Seconds for a cancelled call to unwind; it only has to let go of a lock or a socket.
_UNWIND = 0.2


class BrokerLost(Exception):
    """The broker does not answer, or not in time, or said no; the cause says which."""


async def ask(
    what: Awaitable[T], seconds: float, excused: Callable[[], Awaitable[bool]] | None = None
) -> T:
    """Await one call.

    Args:
        seconds: its deadline.
        excused: asked at the deadline whether it may have as long again.

    Raises:
        BrokerLost: it failed, whatever aio-pika raised, or it took too long.
    """
    task = asyncio.ensure_future(what)
    try:
        await asyncio.wait({task}, timeout=seconds)
        while excused is not None and not task.done() and await excused():
            await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task}, timeout=_UNWIND)
    if task.cancelled() or not task.done():
        raise BrokerLost(f"it did not answer within {seconds:g} s, or its connection ended")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, Exception):
        raise BrokerLost(str(error) or type(error).__name__) from error
    raise error
