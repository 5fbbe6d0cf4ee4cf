"""Cases: how often a container is restarted, by the policy's settings and by its own wish."""

from __future__ import annotations

import pytest

from flow_manager_core.models import GiveUp, Restart, RestartPolicy
from flow_manager_core.testing.recovery_cases.policies import Policies

#: Crashes in a row that are tried on a policy that never gives up.
ENDLESS = 200


class LimitCases(Policies):
    """A crash loop ends as declared, and a container may set its own limit."""

    def test_the_first_crash_is_the_first_attempt(self) -> None:
        if self.restarts == 0:
            pytest.skip("this policy restarts nothing")
        verdict = self.after_crashes(1)
        assert isinstance(verdict, Restart)
        assert verdict.attempt == 1

    def test_a_crash_loop_is_restarted_as_often_as_declared(self) -> None:
        limit = ENDLESS if self.restarts is None else self.restarts
        for crashes in range(1, limit + 1):
            verdict = self.after_crashes(crashes)
            assert isinstance(verdict, Restart), crashes
            assert verdict.attempt <= crashes

    def test_a_crash_loop_beyond_that_is_given_up_for_good(self) -> None:
        if self.restarts is None:
            pytest.skip("this policy never gives up")
        for more in (1, 2, 10):
            verdict = self.after_crashes(self.restarts + more)
            assert isinstance(verdict, GiveUp), more
            assert verdict.attempts <= self.restarts + more - 1

    @pytest.mark.parametrize("limit", [1, 2, 3, 12])
    def test_a_containers_own_limit_wins(self, limit: int) -> None:
        if not self.honours_max_attempts:
            pytest.skip("this policy does not look at max_attempts")
        own = RestartPolicy(max_attempts=limit)
        for crashes in range(1, limit + 1):
            assert isinstance(self.after_crashes(crashes, own), Restart), crashes
        verdict = self.after_crashes(limit + 1, own)
        assert isinstance(verdict, GiveUp)
        assert verdict.attempts == limit
