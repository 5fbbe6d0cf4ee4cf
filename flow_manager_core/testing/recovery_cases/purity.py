"""Cases: a verdict follows from the history and the wish, and from nothing else but chance."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from flow_manager_core.models import RecoveryHistory, RestartPolicy
from flow_manager_core.testing.recovery_cases.policies import (
    PLAIN,
    Policies,
    histories,
    inherited,
    kind,
    wishes,
)

#: Seconds by which a clock's origin is moved; sums with the ends of a crash loop are exact.
ORIGINS = (-4096.0, 64.0, 2.0**20)


class PurityCases(Policies):
    """`RecoveryPolicy.decide` keeps nothing, changes nothing, and looks at no clock."""

    @inherited
    @given(histories(most=20), wishes())
    def test_the_same_history_gets_the_same_verdict_and_stays_as_it_was(
        self, history: RecoveryHistory, restart: RestartPolicy
    ) -> None:
        before = copy.deepcopy((history, restart))
        for policy in self.policies():
            told = {kind(policy.decide(history, restart)) for _ in range(5)}
            assert len(told) == 1, "chance may change the delay alone"
            assert (history, restart) == before

    @inherited
    @given(st.lists(st.integers(1, 20), min_size=2, max_size=12))
    def test_containers_do_not_hear_of_each_other(self, lengths: list[int]) -> None:
        shared = self.make()
        for runs in lengths:
            history = self.crash_loop(runs)
            alone = self.make().decide(history, PLAIN)
            assert kind(shared.decide(history, PLAIN)) == kind(alone)

    def test_it_does_not_matter_when_the_clock_began(self) -> None:
        for runs in (1, 2, 4, 8, 16):
            plain = self.crash_loop(runs)
            for origin in ORIGINS:
                moved = RecoveryHistory(plain.uptimes, tuple(e + origin for e in plain.ends))
                found = self.make().decide(moved, PLAIN)
                assert kind(found) == kind(self.make().decide(plain, PLAIN))
