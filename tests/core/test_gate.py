"""Requests pass the gate only while the engine is there; passing failures are tried again."""

from __future__ import annotations

import anyio
import pytest

from flow_manager_core.errors import EngineError, EngineUnavailable
from flow_manager_core.gate import Gate
from flow_manager_core.models import GiveUp, RecoveryHistory, Restart, RestartPolicy
from flow_manager_core.retrying import Retrier

pytestmark = pytest.mark.anyio


class Steps:
    """A policy of short steps, so many of them."""

    def __init__(self, times: int) -> None:
        self._times = times

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
        attempt = len(history.uptimes)
        return Restart(attempt, 0.001) if attempt <= self._times else GiveUp(self._times, "enough")


class Call:
    """An engine call that fails a few times."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def opened() -> Gate:
    gate = Gate()
    gate.open()
    return gate


BUSY = EngineError("busy", retryable=True)


async def test_a_closed_gate_refuses_at_once_and_says_that_nothing_was_sent() -> None:
    gate = Gate()
    gate.close("no such socket")
    with anyio.fail_after(0.5), pytest.raises(EngineUnavailable, match="no such socket") as caught:
        await gate.require()
    assert caught.value.retryable
    assert caught.value.unsent


async def test_in_doubt_a_request_waits_for_the_answer() -> None:
    gate = opened()
    gate.doubt()
    async with anyio.create_task_group() as group:
        group.start_soon(gate.require)
        await anyio.wait_all_tasks_blocked()
        gate.open()


async def test_passing_failures_are_tried_again_as_the_policy_says() -> None:
    call = Call(BUSY, BUSY)
    assert await Retrier(Steps(3), opened(), 5)(call) == "done"
    assert call.made == 3


async def test_it_gives_up_when_the_policy_does_and_tells_the_last_failure() -> None:
    call = Call(BUSY, BUSY, BUSY)
    with pytest.raises(EngineError, match="busy"):
        await Retrier(Steps(2), opened(), 5)(call)
    assert call.made == 3


async def test_an_engine_is_given_a_moment_by_a_policy_that_restarts_at_once() -> None:
    class AtOnce:
        def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart:
            return Restart(len(history.uptimes), 0.0)

    call = Call(*[BUSY] * 1000)
    with pytest.raises(EngineError, match="busy"):
        await Retrier(AtOnce(), opened(), 0.4)(call)
    assert 2 <= call.made <= 9


@pytest.mark.parametrize("window", [0, 5])
async def test_what_will_not_pass_is_not_tried_again(window: float) -> None:
    call = Call(EngineError("no such command"))
    with pytest.raises(EngineError, match="no such command"):
        await Retrier(Steps(3), opened(), window)(call)
    assert call.made == 1


async def test_an_engine_that_went_away_is_not_waited_for() -> None:
    gate = opened()
    call = Call(EngineUnavailable("the connection broke"))

    async def find_out() -> None:
        await gate.ask_now.wait()
        gate.close("gone")

    async with anyio.create_task_group() as group:
        group.start_soon(find_out)
        with pytest.raises(EngineUnavailable, match="the connection broke"):
            await Retrier(Steps(3), gate, 5)(call)
    assert call.made == 1


async def test_an_engine_that_is_there_after_all_is_asked_again() -> None:
    gate = opened()
    call = Call(EngineUnavailable("it did not answer in time"))

    async def find_out() -> None:
        await gate.ask_now.wait()
        gate.open()

    async with anyio.create_task_group() as group:
        group.start_soon(find_out)
        assert await Retrier(Steps(3), gate, 5)(call) == "done"
