"""What this process holds open, and the fixture `no_leaks` that compares before and after."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from attrs import field, frozen

#: Seconds for ended threads, reaped children and closing sockets to be gone.
DEADLINE = 10.0

#: Idle threads that anyio and trio keep for the next blocking call.
POOLED = ("AnyIO worker thread", "Trio thread")


@frozen
class Census:
    """What this process holds: each thing by a name, with how many there are."""

    held: Counter[str] = field(factory=Counter)

    @classmethod
    def take(cls) -> Census:
        """Count now."""
        return cls(Counter([*_descriptors(), *_threads(), *_children()]))

    def since(self, before: Census) -> list[str]:
        """Name what is there now and was not there before."""
        return sorted((self.held - before.held).elements())


def assert_settles(before: Census, deadline: float = DEADLINE) -> None:
    """Wait until nothing is held that was not held before; blocks the thread.

    Args:
        before: the census to come back to.
        deadline: seconds.

    Raises:
        AssertionError: something is still held at the deadline; it is named.
    """
    _wait(lambda: not Census.take().since(before), deadline)
    left = Census.take().since(before)
    assert not left, "left behind:\n  " + "\n  ".join(left)


def _wait(condition: Callable[[], bool], deadline: float) -> None:
    end = time.monotonic() + deadline
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def _descriptors() -> Iterator[str]:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        yield from ["descriptor"] * psutil.Process().num_fds()
        return
    for link in folder.iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # the listing's own descriptor
            continue
        kind, bracket, _inode = target.partition("[")
        yield f"descriptor {kind}" if bracket else f"descriptor {target}"


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        if not thread.name.startswith(POOLED):
            yield f"thread {thread.name}"


def _children() -> Iterator[str]:
    for child in psutil.Process().children(recursive=True):
        try:
            yield f"child {child.pid} {' '.join(child.cmdline()) or child.name()}"
        except psutil.NoSuchProcess:
            continue


@pytest.fixture
def no_leaks() -> Iterator[Census]:
    """Fail the test if it leaves descriptors, threads or child processes; gives the census before.

    Name it before async fixtures, so that it judges after the event loop has gone. To compare
    within a test, take a `Census` after a first round and call `assert_settles` in a thread.
    """
    before = Census.take()
    yield before
    assert_settles(before)
