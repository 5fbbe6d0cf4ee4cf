"""Blocking calls in worker threads: lanes that do not hold each other up, and deadlines."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
from anyio import to_thread

from flow_manager_core.errors import EngineUnavailable
from flow_manager_docker.client import EngineClient
from flow_manager_docker.errors_map import ENGINE_FAILURES, Subject, translate
from flow_manager_docker.settings import DockerSettings

T = TypeVar("T")

#: Seconds that a socket waits longer than the caller, so that a thread nobody waits for ends.
MARGIN = 2.0


@contextmanager
def within(seconds: float, subject: Subject) -> Iterator[None]:
    """Limit what happens inside to `seconds`, and give every failure of it the core's name.

    Raises:
        EngineUnavailable: time is up; nothing is known of the outcome.
    """
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        told = f"The Docker Engine did not answer within {seconds:g} seconds"
        raise EngineUnavailable(told, **subject.details()) from None
    except ENGINE_FAILURES as error:
        raise translate(error, subject) from error


@contextmanager
def after_sending() -> Iterator[None]:
    """Mark that a call went before: whatever fails inside, that one was not unsent.

    Raises:
        EngineUnavailable: from inside.
    """
    try:
        yield
    except EngineUnavailable as error:
        error.unsent = False
        raise


class Threads:
    """Some threads that nothing else uses.

    Args:
        number: calls at a time.
    """

    def __init__(self, number: int) -> None:
        self._turns = anyio.Semaphore(number)
        # The turns limit the calls; this one only keeps them out of the event loop's own pool.
        self._unlimited = anyio.CapacityLimiter(math.inf)

    async def call(self, work: Callable[[], T], subject: Subject, *, seconds: float) -> T:
        """Run `work` in a thread.

        Args:
            seconds: its deadline, counted from its turn on. A thread that is still busy then is
                left alone; its sockets give up soon after.

        Raises:
            FlowManagerError: what `translate` made of the failure.
        """
        async with self._turns:
            with within(seconds, subject):
                return await to_thread.run_sync(
                    work, abandon_on_cancel=True, limiter=self._unlimited
                )


class Lane:
    """Some threads that share a client. A call waits its turn; the others' lanes do not notice.

    Args:
        threads: calls at a time.
        timeout: seconds that the client's sockets wait.
    """

    def __init__(self, threads: int, timeout: float) -> None:
        self._connections = threads
        self._timeout = timeout
        self._threads = Threads(threads)
        self._lock = threading.Lock()
        self._client: EngineClient | None = None

    async def call(
        self, work: Callable[[EngineClient], T], subject: Subject, *, seconds: float
    ) -> T:
        """Run `work` in a thread; see `Threads.call`.

        Raises:
            FlowManagerError: what `translate` made of the failure.
        """
        return await self._threads.call(lambda: work(self._connected()), subject, seconds=seconds)

    def _connected(self) -> EngineClient:
        """Make the client when first needed: the engine may be away when the manager starts."""
        if (known := self._client) is not None:
            return known
        # Not under the lock: with an engine that hangs, each would wait for the others' deadlines.
        fresh = EngineClient(self._timeout, self._connections)
        with self._lock:
            self._client, unused = (self._client, fresh) if self._client else (fresh, None)
            chosen = self._client
        if unused is not None:
            unused.close()
        return chosen

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()


class EngineCalls:
    """The backend's lanes.

    Args:
        settings: how many threads each has.
        request_timeout: seconds that a call may take which waits for no program.
    """

    def __init__(self, settings: DockerSettings, request_timeout: float) -> None:
        self._settings = settings
        self.request_timeout = request_timeout
        timeout = request_timeout + MARGIN
        self._quick = Lane(settings.quick_threads, timeout)
        self._starts = Lane(settings.start_threads, timeout)
        self._slow = Lane(settings.slow_threads, timeout)
        self._commands = Lane(settings.command_threads, timeout)

    async def quick(self, work: Callable[[EngineClient], T], subject: Subject) -> T:
        """A call that the engine answers at once; the deadline includes the wait for a turn."""
        with within(self.request_timeout, subject):
            return await self._quick.call(work, subject, seconds=self.request_timeout)

    async def start(self, work: Callable[[EngineClient], T], subject: Subject) -> T:
        """A start."""
        return await self._starts.call(work, subject, seconds=self.request_timeout)

    async def slow(
        self, work: Callable[[EngineClient], T], subject: Subject, *, extra: float = 0.0
    ) -> T:
        """A call that may take long; `extra` seconds are what it waits for a program's end."""
        return await self._slow.call(work, subject, seconds=self.request_timeout + extra)

    async def command(
        self, work: Callable[[EngineClient], T], subject: Subject, *, extra: float
    ) -> T:
        """A command in a container, which may take `extra` seconds."""
        return await self._commands.call(work, subject, seconds=self.request_timeout + extra)

    async def transfer(self, work: Callable[[EngineClient], T], subject: Subject) -> T:
        """The transfer of a code folder."""
        return await self._slow.call(work, subject, seconds=self._settings.archive_timeout)

    async def stream(self, work: Callable[[EngineClient], T], subject: Subject) -> T:
        """A transfer of any length; the manager ends it when nothing moves."""
        return await self._slow.call(work, subject, seconds=math.inf)

    def close(self) -> None:
        """Close all idle connections."""
        for lane in (self._quick, self._starts, self._slow, self._commands):
            lane.close()
