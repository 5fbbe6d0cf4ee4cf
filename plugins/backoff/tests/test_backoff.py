"""The backoff policy: pure, so every rule can be seen in its verdicts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_manager_backoff import Backoff, BackoffSettings
from flow_manager_core.models import GiveUp, RecoveryHistory, Restart, RestartPolicy

STEADY = BackoffSettings(first_delay=1, factor=2, cap=10, jitter=0, max_attempts=6, stable_after=60)
ANY = RestartPolicy()


def verdict(
    settings: BackoffSettings, *uptimes: float, restart: RestartPolicy = ANY
) -> Restart | GiveUp:
    ends = tuple(float(n) for n in range(len(uptimes)))
    return Backoff(settings, random.Random(1)).decide(RecoveryHistory(uptimes, ends), restart)


def test_delays_double_up_to_the_cap_and_then_it_gives_up() -> None:
    verdicts = [verdict(STEADY, *[0.1] * n) for n in range(1, 8)]
    assert verdicts[:6] == [
        Restart(1, 1),
        Restart(2, 2),
        Restart(3, 4),
        Restart(4, 8),
        Restart(5, 10),
        Restart(6, 10),
    ]
    assert verdicts[6] == GiveUp(6, "still failing after 6 restarts in a row")


def test_a_stable_run_wipes_the_slate_clean() -> None:
    assert verdict(STEADY, *[0.1] * 6, 61) == Restart(1, 1)
    assert verdict(STEADY, *[0.1] * 6, 61, 0.1) == Restart(2, 2)


def test_a_container_may_set_its_own_limit() -> None:
    assert isinstance(verdict(STEADY, 0.1, 0.1, restart=RestartPolicy(max_attempts=1)), GiveUp)
    generous = RestartPolicy(max_attempts=100)
    assert verdict(STEADY, *[0.1] * 50, restart=generous) == Restart(50, 10)


def test_every_setting_can_be_overridden_by_a_container() -> None:
    hasty = RestartPolicy(
        max_attempts=3, first_delay=0.5, factor=3, max_delay=4, jitter=0, stable_after=1
    )
    jittery = BackoffSettings(
        first_delay=30, factor=1, cap=90, jitter=1, max_attempts=9, stable_after=500
    )
    assert [verdict(jittery, *[0.1] * n, restart=hasty) for n in range(1, 5)] == [
        Restart(1, 0.5),
        Restart(2, 1.5),
        Restart(3, 4),
        GiveUp(3, "still failing after 3 restarts in a row"),
    ]
    assert verdict(jittery, *[0.1] * 3, 1.5, restart=hasty) == Restart(1, 0.5)


@pytest.mark.parametrize(
    ("own", "delay"),
    [
        (RestartPolicy(first_delay=0), 0),
        (RestartPolicy(first_delay=3), 6),
        (RestartPolicy(first_delay=50), 10),
        (RestartPolicy(factor=1), 1),
        (RestartPolicy(max_delay=1.5), 1.5),
        (RestartPolicy(max_delay=0), 0),
    ],
)
def test_what_a_container_leaves_open_stays_as_set(own: RestartPolicy, delay: float) -> None:
    assert verdict(STEADY, 0.1, 0.1, restart=own) == Restart(2, delay)


def test_a_containers_own_jitter_takes_off_at_most_its_share() -> None:
    policy = Backoff(STEADY)
    history = RecoveryHistory((0.1,), (0.0,))
    verdicts = [policy.decide(history, RestartPolicy(jitter=0.5)) for _ in range(50)]
    delays = [v.delay for v in verdicts if isinstance(v, Restart)]
    assert len(set(delays)) > 10
    assert all(0.5 <= delay <= 1 for delay in delays)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=50),
    st.floats(0, 100),
    st.floats(1, 10),
    st.floats(0, 100),
    st.floats(0, 1),
)
def test_no_delay_is_ever_negative_or_over_the_cap(
    uptimes: list[float], first: float, factor: float, cap: float, jitter: float
) -> None:
    settings = BackoffSettings(
        first_delay=first, factor=factor, cap=cap, jitter=jitter, max_attempts=1000
    )
    found = verdict(settings, *uptimes)
    assert isinstance(found, Restart)
    assert 0 <= found.delay <= cap


def test_jitter_spreads_containers_that_crashed_together() -> None:
    policy = Backoff(BackoffSettings(jitter=0.5))
    history = RecoveryHistory((0.1,), (0.0,))
    delays = {policy.decide(history, ANY) for _ in range(20)}
    assert len(delays) > 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"factor": 0.5},
        {"jitter": 2},
        {"cap": -1},
        {"cap": 86401},
        {"first_delay": float("inf")},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        BackoffSettings(**wrong)  # type: ignore[arg-type]
