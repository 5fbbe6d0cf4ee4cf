"""Cases: any history and any wish get a verdict that can be carried out, and soon."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given

from flow_manager_core.models import RecoveryHistory, RestartPolicy
from flow_manager_core.testing.recovery_cases.policies import (
    PLAIN,
    Policies,
    check,
    histories,
    inherited,
    wishes,
)

#: Ended runs that the manager keeps of a container.
LONG = 1000
#: Seconds that a long history may take beyond ten times a short one; a policy that compares each
#: run with each other one takes tens of milliseconds.
SLACK = 0.005
#: Histories that a host can bring about, though not often.
ODD = {
    "one run": RecoveryHistory((0.0,), (0.0,)),
    "equal ends": RecoveryHistory((0.0,) * 9, (5.0,) * 9),
    "ends out of order": RecoveryHistory((1.0,) * 5, (50.0, 10.0, 40.0, 20.0, 30.0)),
    "a clock that was set back": RecoveryHistory((1.0,) * 4, (9e8, 9e8 + 1, 9e8 + 2, 5.0)),
    "ends before the host's start": RecoveryHistory((1.0,) * 3, (-500.0, -300.0, -100.0)),
    "runs of years": RecoveryHistory((1e8,) * 3, (1e8, 2e8, 3e8)),
    "more than is kept": RecoveryHistory((0.1,) * (LONG + 1), tuple(map(float, range(LONG + 1)))),
}


class VerdictCases(Policies):
    """`RecoveryPolicy.decide` is total, and quick."""

    def test_every_setting_has_a_default(self) -> None:
        kind = self.provider.settings_class
        assert attrs.has(kind)
        assert [a.name for a in attrs.fields(kind) if a.default is attrs.NOTHING] == []

    @pytest.mark.parametrize("case", ODD)
    def test_an_odd_history_gets_a_sound_verdict(self, case: str) -> None:
        for policy in self.policies():
            check(policy.decide(ODD[case], PLAIN), ODD[case])

    @inherited
    @given(histories(), wishes())
    def test_any_history_and_any_wish_get_a_sound_verdict(
        self, history: RecoveryHistory, restart: RestartPolicy
    ) -> None:
        for policy in self.policies():
            check(policy.decide(history, restart), history)

    def test_a_call_that_fails_over_and_over_gets_sound_verdicts(self) -> None:
        """Calls to the engine are tried again by the same policy, as runs that lasted no time."""
        for policy in self.policies():
            for failures in range(1, 30):
                history = RecoveryHistory((0.0,) * failures, tuple(map(float, range(failures))))
                check(policy.decide(history, PLAIN), history)

    def test_a_long_history_is_judged_about_as_soon_as_a_short_one(self) -> None:
        endless = RestartPolicy(max_attempts=10 * LONG)
        short, long = self.crash_loop(1), self.crash_loop(LONG)
        for policy in self.policies():
            quick = best(lambda p=policy: p.decide(short, endless))  # type: ignore[misc]
            slow = best(lambda p=policy: p.decide(long, endless))  # type: ignore[misc]
            assert slow < 10 * quick + SLACK


def best(action: Callable[[], object], times: int = 20) -> float:
    """The least seconds that something took; the machine may be busy with others."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        found.append(time.perf_counter() - begun)
    return min(found)
