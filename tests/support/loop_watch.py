"""A pytest plugin: a test fails when its event loop was held by one step for too long.

What is measured is one callback (asyncio) or one task step (trio), on the thread that runs the
tests: the wall time it took, less the time that the thread was ready to run but the machine was
busy with others, and less the time of the garbage collector, which sweeps over thousands of tests
as well. So a sleep, a blocking call or a long computation counts, a crowded machine does not.

What the thread waits for may itself be a thread that waits for a processor: the one that has the
interpreter's lock, or one that is being started. So the bound grows with the crowd: with how long
the test's own thread had to wait for each second that it ran.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import trio
from attrs import define, field, frozen

#: Seconds that one step may hold the loop. A person notices 100 ms; the rest is for a slow machine.
BOUND = 0.4
#: Times that a crowd may stretch it.
MOST = 4.0

MARKER = "blocks_loop"


@frozen
class Blocked:
    """One step that held the loop: who it was, for how many seconds, and where it was then."""

    who: str
    seconds: float
    where: str = ""

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s in {self.who}{self.where}"


class RunQueueClock:
    """Seconds that this thread waited for a processor, by Linux's account; 0 elsewhere."""

    def __init__(self) -> None:
        path = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._file = path.open("rb", buffering=0) if path.exists() else None

    def read(self) -> float:
        """Return the seconds so far."""
        return self.account()[1]

    def account(self) -> tuple[float, float]:
        """Return the seconds that it ran so far, and that it waited."""
        if self._file is None:
            return 0.0, 0.0
        self._file.seek(0)
        ran, waited, _ = self._file.read(64).split()
        return int(ran) / 1e9, int(waited) / 1e9

    def close(self) -> None:
        """Let the descriptor go."""
        if self._file is not None:
            self._file.close()


class CollectorClock:
    """Seconds that the garbage collector has taken."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._begun = 0.0
        gc.callbacks.append(self._note)

    def read(self) -> float:
        """Return the seconds so far."""
        return self._spent

    def close(self) -> None:
        """Count no more."""
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, _info: dict[str, int]) -> None:
        now = time.monotonic()
        if phase == "start":
            self._begun = now
        else:
            self._spent += now - self._begun


class Lookout:
    """Looks, from a thread of its own, where the watched thread is while a step takes long.

    Args:
        thread: the watched one.
        patience: seconds of a step after which it is looked at.
    """

    def __init__(self, thread: int, patience: float) -> None:
        #: When the step under way began; 0: there is none.
        self.began: float = 0.0
        self._thread = thread
        self._patience = patience
        self._seen = (0.0, "")
        self._over = threading.Event()
        threading.Thread(target=self._look, name="loop-lookout", daemon=True).start()

    def seen(self, began: float) -> str:
        """Where the step was that began then, innermost last; empty: nobody looked."""
        return self._seen[1] if self._seen[0] == began else ""

    def close(self) -> None:
        """Look no more."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(self._patience / 2):
            began = self.began
            long = began and time.monotonic() - began > self._patience
            if long and self._seen[0] != began:
                frame = sys._current_frames().get(self._thread)
                self._seen = (began, "".join(_places(frame)))


def _places(frame: FrameType | None, most: int = 8) -> list[str]:
    stack = traceback.extract_stack(frame)[-most:]
    return [f"\n    {one.filename}:{one.lineno} {one.name}" for one in stack]


@define
class LoopWatch:
    """Times the steps of the loop on the thread that made it.

    Args:
        bound: seconds.
    """

    bound: float = BOUND
    found: list[Blocked] = field(factory=list)
    _crowd: RunQueueClock = field(factory=RunQueueClock)
    _collector: CollectorClock = field(factory=CollectorClock)
    _thread: int = field(factory=threading.get_ident)
    _lookout: Lookout = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lookout = Lookout(self._thread, self.bound / 2)

    def begin(self) -> tuple[float, float]:
        """Return what `end` needs to know of a step's beginning."""
        self._lookout.began = began = time.monotonic()
        return began, self._crowd.read() + self._collector.read()

    def end(self, begun: tuple[float, float], who: object) -> None:
        """Take note of a step that was too long."""
        self._lookout.began = 0.0
        wall = time.monotonic() - begun[0]
        if wall > self.bound:
            waited = self._crowd.read() + self._collector.read() - begun[1]
            if wall - waited > self.bound:
                where = self._lookout.seen(begun[0])
                self.found.append(Blocked(repr(who), wall - waited, where))

    def account(self) -> tuple[float, float]:
        """Return what `stretch` needs to know of a time's beginning."""
        return self._crowd.account()

    def stretch(self, begun: tuple[float, float]) -> float:
        """How many times longer than on an idle machine things took since then."""
        ran, waited = (now - then for now, then in zip(self.account(), begun, strict=True))
        return min(MOST, 1 + waited / ran) if ran else 1.0

    def concerns(self) -> bool:
        """Whether the running thread is the watched one."""
        return threading.get_ident() == self._thread

    def close(self) -> None:
        """End the watch."""
        self._lookout.close()
        self._crowd.close()
        self._collector.close()


class AsyncioSteps:
    """Puts a watch round every callback of asyncio's own loop; a task's step is one of them."""

    def __init__(self, watch: LoopWatch) -> None:
        self._watch = watch
        self._original = asyncio.Handle._run

    def install(self) -> None:
        """Begin to watch."""
        watch, original = self._watch, self._original

        def timed(handle: asyncio.Handle) -> None:
            if not watch.concerns():
                return original(handle)
            begun = watch.begin()
            try:
                return original(handle)
            finally:
                watch.end(begun, getattr(handle._callback, "__self__", handle))

        asyncio.Handle._run = timed  # type: ignore[method-assign]  # the loop offers no hook

    def remove(self) -> None:
        """Leave asyncio as it was."""
        asyncio.Handle._run = self._original  # type: ignore[method-assign]


class TrioSteps(trio.abc.Instrument):
    """Puts a watch round every step of a trio task."""

    def __init__(self, watch: LoopWatch) -> None:
        self._watch = watch
        self._begun = (0.0, 0.0)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note the beginning."""
        self._begun = self._watch.begin()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Judge the step."""
        self._watch.end(self._begun, task)


class LoopWatchPlugin:
    """Asks the watch after each phase of each test."""

    def __init__(self, watch: LoopWatch) -> None:
        self._watch = watch

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Fixtures count, too."""
        return (yield from self._judge(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """The test itself."""
        return (yield from self._judge(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """And the way out."""
        return (yield from self._judge(item))

    def _judge(self, item: pytest.Item) -> Generator[None, Any, Any]:
        watch = self._watch
        watch.found.clear()
        begun = watch.account()
        result = yield
        if watch.found and item.get_closest_marker(MARKER) is None:
            bound = watch.bound * watch.stretch(begun)
            steps = "\n  ".join(str(step) for step in watch.found if step.seconds > bound)
            if steps:
                pytest.fail(f"The event loop was blocked:\n  {steps}", pytrace=False)
        return result


WATCH = pytest.StashKey[LoopWatch]()


def pytest_configure(config: pytest.Config) -> None:
    """Install the watch for the whole run."""
    config.addinivalue_line("markers", f"{MARKER}(reason): the test itself may block the loop")
    watch = config.stash[WATCH] = LoopWatch()
    steps = AsyncioSteps(watch)
    steps.install()
    config.add_cleanup(steps.remove)
    config.add_cleanup(watch.close)
    config.pluginmanager.register(LoopWatchPlugin(watch), "flow-manager-loop-watch")


@pytest.fixture(scope="session")
def watched(pytestconfig: pytest.Config) -> Callable[[str], Any]:
    """Make of a loop's name what the fixture `anyio_backend` should give: trio's needs options."""
    options = {"instruments": [TrioSteps(pytestconfig.stash[WATCH])]}
    return lambda name: (name, options) if name == "trio" else name
