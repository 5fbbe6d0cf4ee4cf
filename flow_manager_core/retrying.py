"""Tries engine calls again that failed for a passing reason, with the recovery policy's delays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from flow_manager_core.contracts import RecoveryPolicy
from flow_manager_core.errors import EngineError, EngineUnavailable
from flow_manager_core.gate import Gate
from flow_manager_core.log import get_log
from flow_manager_core.models import GiveUp, RecoveryHistory, RestartMode, RestartPolicy

T = TypeVar("T")

AS_THE_POLICY_SAYS = RestartPolicy(RestartMode.ON_CRASH)
#: Seconds: a policy may start a container again at once, but an engine that has just failed needs
#: a moment, and must not be flooded.
LEAST_PAUSE = 0.05


class Retrier:
    """For calls that may be made twice without harm.

    Args:
        window: seconds in which a call is tried again; the last try may end later.
    """

    def __init__(self, policy: RecoveryPolicy, gate: Gate, window: float) -> None:
        self._policy = policy
        self._gate = gate
        self._window = window
        self._log = get_log("retry")

    async def __call__(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work, again after each passing failure; an engine that is away fails it at once.

        Raises:
            FlowManagerError: the last failure.
        """
        failures: list[float] = []
        end = anyio.current_time() + self._window
        while True:
            try:
                with self._gate.guarded():
                    return await work()
            except EngineError as error:
                failures.append(anyio.current_time())
                delay = self._delay(failures) if error.retryable else None
                if isinstance(error, EngineUnavailable):
                    self._gate.doubt()
                if delay is None or failures[-1] + delay > end or not await self._answers():
                    raise
                self._log.warning("Trying again", delay=round(delay, 3), error=error.message)
                await anyio.sleep(delay)

    def _delay(self, failures: list[float]) -> float | None:
        history = RecoveryHistory(tuple(0.0 for _ in failures), tuple(failures))
        verdict = self._policy.decide(history, AS_THE_POLICY_SAYS)
        return None if isinstance(verdict, GiveUp) else max(verdict.delay, LEAST_PAUSE)

    async def _answers(self) -> bool:
        try:
            await self._gate.require()
        except EngineUnavailable:
            return False
        return True
