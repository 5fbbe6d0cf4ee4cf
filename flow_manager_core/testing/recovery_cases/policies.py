"""What the cases build on: the policy in question, histories, and what a sound verdict is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import hypothesis
from hypothesis import strategies as st

from flow_manager_core.contracts import RecoveryPolicy
from flow_manager_core.log import get_log
from flow_manager_core.models import (
    LONGEST_DELAY,
    GiveUp,
    RecoveryHistory,
    Restart,
    RestartMode,
    RestartPolicy,
)
from flow_manager_core.providers import ProviderContext, RecoveryProvider
from flow_manager_core.settings import Settings

#: As the retrier asks: a container's own wish is not there.
PLAIN = RestartPolicy(RestartMode.ON_CRASH)
#: Seconds between two ends, and of each run, in a crash loop; sums of it are exact.
HASTE = 0.125

Verdict = Restart | GiveUp


class Policies:
    """The hooks of the suite. Set the attributes; override a method where they do not suffice."""

    #: The policy's provider record.
    provider: ClassVar[RecoveryProvider]
    #: The provider's settings; ``None``: its settings class with its defaults.
    settings: ClassVar[object] = None
    #: Settings at the edges of what they may be; what holds for any policy holds with them.
    extremes: ClassVar[tuple[object, ...]] = ()
    #: How often a container is restarted that crashes at once over and over, before the policy
    #: gives up; 0: it never restarts anything, ``None``: it never gives up.
    restarts: ClassVar[int | None]
    #: Whether a container's own `max_attempts` takes the place of `restarts`.
    honours_max_attempts: ClassVar[bool] = True

    def make(self, settings: object = None) -> RecoveryPolicy:
        """Make a policy.

        Args:
            settings: left out: those of the suite.
        """
        chosen: Any = self.settings if settings is None else settings
        if chosen is None:
            chosen = self.provider.settings_class()
        log = get_log(self.provider.name)
        return self.provider.factory(ProviderContext(settings=chosen, core=Settings(), log=log))

    def policies(self) -> Iterator[RecoveryPolicy]:
        """Make a policy with the suite's settings, and one with each of the extreme ones."""
        yield self.make()
        for settings in self.extremes:
            yield self.make(settings)

    def crash_loop(self, runs: int) -> RecoveryHistory:
        """The history of a container that crashed at once, over and over."""
        return RecoveryHistory((HASTE,) * runs, tuple(HASTE * n for n in range(1, runs + 1)))

    def after_crashes(self, runs: int, restart: RestartPolicy = PLAIN) -> Verdict:
        """What a policy says of a container's crash loop."""
        return self.make().decide(self.crash_loop(runs), restart)


def check(verdict: object, history: RecoveryHistory) -> None:
    """Check that a verdict can be carried out, and claims no more attempts than can have been."""
    runs = len(history.uptimes)
    if isinstance(verdict, Restart):
        assert type(verdict.attempt) is int
        assert 1 <= verdict.attempt <= runs, "attempts count from 1, one for each ended run"
        assert math.isfinite(verdict.delay)
        assert 0 <= verdict.delay <= LONGEST_DELAY
    else:
        assert isinstance(verdict, GiveUp)
        assert type(verdict.attempts) is int
        assert 0 <= verdict.attempts < runs, "the first of the runs was no restart"
        assert verdict.reason.strip()
        assert verdict.reason.isprintable(), "clients show it as one line"


def kind(verdict: Verdict) -> tuple[type, int]:
    """All of a verdict that is not left to chance."""
    return type(verdict), verdict.attempt if isinstance(verdict, Restart) else verdict.attempts


@st.composite
def histories(draw: st.DrawFn, most: int = 60) -> RecoveryHistory:
    """Any histories: ends in any order, equal ones, and of other lives of the host's clock."""
    times = st.floats(-1e9, 1e9) | st.sampled_from((0.0, 1.0, 60.0))
    uptimes = st.floats(0, 1e9) | st.just(0.0)
    runs = draw(st.lists(st.tuples(uptimes, times), min_size=1, max_size=most))
    return RecoveryHistory(tuple(u for u, _ in runs), tuple(end for _, end in runs))


def wishes() -> st.SearchStrategy[RestartPolicy]:
    """Whatever a container may ask for itself, in the bounds of the field ``restart``."""
    seconds = st.none() | st.floats(0, LONGEST_DELAY)
    return st.builds(
        RestartPolicy,
        policy=st.sampled_from(RestartMode),
        max_attempts=st.none() | st.integers(1, 10_000_000),
        first_delay=seconds,
        factor=st.none() | st.floats(1, 1000),
        max_delay=seconds,
        jitter=st.none() | st.floats(0, 1),
        stable_after=seconds,
    )


#: Cases are inherited by each policy's class, and keep nothing between them.
inherited: hypothesis.settings = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.differing_executors]
)
