"""Keeps the line to the engine, and the gate before it true.

Events make it fast, listing makes it true. Whenever the line was broken, what happened meanwhile is
found out before the gate opens again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.errors import EngineUnavailable, FlowManagerError
from flow_manager_core.gate import Gate
from flow_manager_core.log import get_log
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import EngineEvent, EngineInfo
from flow_manager_core.settings import Settings
from flow_manager_core.supervisor import Supervisor

#: Seconds until the engine is looked for again.
AGAIN = 0.5
#: Seconds that an event may come later than a look.
EVENT_DELAY = 1.0


class EngineWatch:
    """Subscribes to the engine's events, and asks it every few seconds whether it is there.

    Args:
        settings: of them, the interval between two comparisons counts.
    """

    def __init__(
        self,
        backend: ContainerBackend,
        gate: Gate,
        supervisor: Supervisor,
        metrics: Metrics,
        settings: Settings,
    ) -> None:
        self._backend = backend
        self._metrics = metrics
        self._gate = gate
        self._supervisor = supervisor
        self._interval = settings.reconcile_interval
        self._log = get_log("supervisor")

    async def run(self, first: anyio.Event) -> None:
        """Watch until cancelled.

        Args:
            first: set after the first try to reach the engine.
        """
        while True:
            try:
                await self._follow(first)
            except FlowManagerError as error:
                self._away(error.message)
            except Exception as error:  # noqa: BLE001  # a provider's fault must not end the watch
                self._broken(error)
            first.set()
            await self._pause(AGAIN)

    async def _follow(self, first: anyio.Event) -> None:
        """Follow one subscription to its end."""
        info = await self._timed_ping()
        async with self._backend.watch() as events:
            await self._supervisor.catch_up(info)
            self._back()
            first.set()
            async with anyio.create_task_group() as group:
                group.start_soon(self._check, info.life, group.cancel_scope)
                try:
                    await self._listen(events)
                finally:
                    self._supervisor.blind()
                self._gate.doubt()
                group.cancel_scope.cancel()
        self._log.info("The engine's events are followed anew")

    async def _listen(self, events: AsyncIterator[EngineEvent]) -> None:
        """Take events until there are no more."""
        try:
            async for event in events:
                self._supervisor.heard(event)
        except FlowManagerError as error:
            self._log.info("The engine's events broke off", error=error.message)
        except Exception as error:  # noqa: BLE001  # as in `run`
            self._broken(error)

    async def _check(self, life: str, scope: anyio.CancelScope) -> None:
        """Ask and compare until there is a reason to follow the events anew."""
        try:
            await self._pause(self._interval)
            while await self._all_well(life):
                await self._pause(self._interval)
        except FlowManagerError as error:
            self._away(error.message)
            await self._answered()
        except Exception as error:  # noqa: BLE001  # as in `run`
            self._broken(error)
        scope.cancel()

    async def _answered(self) -> None:
        """Wait until the engine answers; one that closes goes on telling of its last stops."""
        while True:
            await self._pause(AGAIN)
            try:
                await self._backend.ping()
            except FlowManagerError:
                continue
            except Exception as error:  # noqa: BLE001  # as in `run`
                self._broken(error)
            return

    async def _all_well(self, life: str) -> bool:
        if (await self._ping()).life != life:
            self._gate.doubt()
            return False
        await self._supervisor.reconcile()
        self._gate.open()
        return await self._events_come()

    async def _events_come(self) -> bool:
        """Whether the engine's events told of every end that was seen, by whatever means."""
        ends = self._supervisor.take_ends()
        if all(map(self._supervisor.heard_of_end, ends)):
            return True
        await anyio.sleep(EVENT_DELAY)
        if all(map(self._supervisor.heard_of_end, ends)):
            return True
        self._log.warning("The engine's events fell silent: an end was not told")
        return False

    async def _ping(self) -> EngineInfo:
        """Ask; an engine that is only late is asked twice."""
        try:
            return await self._timed_ping()
        except EngineUnavailable as error:
            if error.unsent:
                raise
        self._gate.doubt()
        return await self._timed_ping()

    async def _timed_ping(self) -> EngineInfo:
        with self._metrics.engine_call("ping"):
            return await self._backend.ping()

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._gate.ask_now.wait()
        self._gate.ask_now = anyio.Event()

    def _back(self) -> None:
        if self._gate.reason is not None:
            self._log.info("The engine answers again")
        self._gate.open()

    def _broken(self, error: Exception) -> None:
        self._log.error("The backend failed in a way that it must not", exc_info=error)
        self._away(f"its backend failed ({type(error).__name__})")

    def _away(self, reason: str) -> None:
        if self._gate.reason is None:
            self._log.error("The engine does not answer", error=reason)
            self._metrics.engine_went_away()
        self._gate.close(reason)
