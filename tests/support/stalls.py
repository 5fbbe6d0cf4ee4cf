"""A pytest plugin: what the tasks wait for is told of a test that pytest is about to end.

pytest itself ends a process whose test takes longer than `faulthandler_timeout`, and tells what
each thread does. Of a test with an event loop that is always the same: the loop waits.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
import trio

#: The part of the time after which it is told.
SHARE = 0.8

STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr: while a test runs, pytest has put a file in its place."""
    config.stash[STDERR] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let it go."""
    os.close(config.stash[STDERR])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Watch one test, with all that is made for it."""
    seconds = float(item.config.getini("faulthandler_timeout") or 0)
    if not seconds:
        return (yield)
    arguments = (item.nodeid, item.config.stash[STDERR])
    timer = threading.Timer(seconds * SHARE, _tell, arguments)
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()
        timer.join()


def _tell(nodeid: str, stderr: int) -> None:
    lines = [f"\n{nodeid} hangs; its tasks wait here:", *waiting()]
    os.write(stderr, ("\n".join(lines) + "\n").encode(errors="replace"))


def waiting() -> Iterator[str]:
    """Name each task of every event loop in this process, and where it waits, innermost last."""
    for thing in gc.get_objects():
        if isinstance(thing, asyncio.Task) and not thing.done():
            yield from _told(thing.get_name(), thing.get_coro())
        elif type(thing) is trio.lowlevel.Task and thing.parent_nursery is not None:
            yield from _told(thing.name, thing.coro)


def _told(name: str, coroutine: Any) -> Iterator[str]:
    yield f"  {name}"
    for frame in _frames(coroutine):
        yield f"    {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"


def _frames(awaited: Any) -> Iterator[FrameType]:
    """The frames of what awaits what: coroutines, generators, asynchronous generators."""
    while awaited is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), "")
        if not kind:
            return
        if frame := getattr(awaited, f"{kind}_frame"):
            yield frame
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
