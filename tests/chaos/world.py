"""The manager and the engine of a chaos run, and the troubles that befall them."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext

import anyio
from anyio import to_thread
from attrs import define

from tests.chaos import outside
from tests.chaos.manager import Manager
from tests.chaos.plan import Event, Trouble
from tests.support.restartable_engine import RestartableEngine

#: Seconds without a change, after which no container is taken to be on its way.
STILL = 0.7

ENGINE = (Trouble.ENGINE_KILL, Trouble.ENGINE_TERMINATE)


@define
class Window:
    """When a trouble was there.

    Args:
        ends_flows: whether the engine may end flows in it.
        ended_at: infinite while it lasts.
    """

    trouble: Trouble
    began_at: float
    ends_flows: bool = False
    ended_at: float = float("inf")


class World:
    """Everything that is not a flow.

    Args:
        on_outage: called when the engine may have ended flows.
    """

    def __init__(
        self, manager: Manager, engine: RestartableEngine, on_outage: Callable[[], None]
    ) -> None:
        self.manager = manager
        self.engine = engine
        self.windows: list[Window] = []
        #: Steps under way, and whether the next ones are to wait.
        self._steps = 0
        self._open = anyio.Event()
        self._open.set()
        self._on_outage = on_outage

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """Do a step in here: there are moments at which none may be under way."""
        await self._open.wait()
        self._steps += 1
        try:
            yield
        finally:
            self._steps -= 1

    @asynccontextmanager
    async def _stillness(self) -> AsyncIterator[None]:
        """Let no container be on its way up or down.

        A Docker Engine (20.10) that is killed while it starts a container never starts that one
        again: "task already exists". Only to make it anew helps.
        """
        self._open = anyio.Event()
        try:
            last, since = None, time.monotonic()
            while self._steps or time.monotonic() - since < STILL:
                now = await to_thread.run_sync(outside.containers, self.manager)
                if now != last:
                    last, since = now, time.monotonic()
                await anyio.sleep(0.05)
            yield
        finally:
            self._open.set()

    def troubled(self, *troubles: Trouble, since: float, slack: float = 0.0) -> bool:
        """Whether one of these troubles was there at some time since then.

        Args:
            since: by the monotonic clock.
            slack: seconds before the begin and after the end that count as well.
        """
        return any(self.at(t, since, time.monotonic(), slack) for t in troubles)

    def at(self, trouble: Trouble, first: float, last: float, slack: float = 0.0) -> bool:
        """Whether a trouble was there at some time between two moments."""
        return any(
            w.trouble is trouble and w.began_at - slack <= last and first <= w.ended_at + slack
            for w in self.windows
        )

    @property
    def engine_whole(self) -> bool:
        """Whether the engine can be asked from outside."""
        open_now = [w for w in self.windows if w.ended_at == float("inf")]
        return not any(w.trouble in (*ENGINE, Trouble.ENGINE_FREEZE) for w in open_now)

    async def befall(self, event: Event) -> None:
        """Let a trouble come and pass."""
        window = Window(event.trouble, time.monotonic())
        self.windows.append(window)
        match event.trouble:
            case Trouble.MANAGER_KILL:
                await to_thread.run_sync(self.manager.kill)
                await anyio.sleep(event.lasts)
                await to_thread.run_sync(self.manager.start)
            case Trouble.MANAGER_FREEZE:
                await self._freeze_manager(event.lasts)
            case Trouble.ENGINE_FREEZE:
                self.engine.freeze()
                await anyio.sleep(event.lasts)
                self.engine.thaw()
            case _:
                await self._restart_engine(event, window)
        window.ended_at = time.monotonic()

    async def _freeze_manager(self, seconds: float) -> None:
        process = self.manager.process
        self.manager.send(signal.SIGSTOP)
        await anyio.sleep(seconds)
        if process is self.manager.process:  # another trouble may have killed it meanwhile
            self.manager.send(signal.SIGCONT)

    async def _restart_engine(self, event: Event, window: Window) -> None:
        kept = self.engine.live_restore
        kill = event.trouble is Trouble.ENGINE_KILL
        async with self._stillness() if kept or kill else nullcontext():
            window.began_at = time.monotonic()
            await to_thread.run_sync(self.engine.kill if kill else self.engine.terminate)
        await anyio.sleep(event.lasts)
        await to_thread.run_sync(lambda: self.engine.start(live_restore=kept))
        window.ends_flows = not kept
        if window.ends_flows:
            self._on_outage()
