"""The intensity policy: pure, so every rule can be seen in its verdicts."""

from __future__ import annotations

import pytest

from flow_manager_core.models import GiveUp, RecoveryHistory, Restart, RestartPolicy
from flow_manager_intensity import Intensity, IntensitySettings

THREE_A_MINUTE = IntensitySettings(restarts=3, window=60, delay=2)
ANY = RestartPolicy()


def verdict(
    *ends: float, settings: IntensitySettings = THREE_A_MINUTE, restart: RestartPolicy = ANY
) -> Restart | GiveUp:
    history = RecoveryHistory((0.0,) * len(ends), ends)
    return Intensity(settings).decide(history, restart)


def test_within_the_window_every_restart_waits_the_same_time_and_then_it_gives_up() -> None:
    assert [verdict(*map(float, range(n))) for n in range(1, 5)] == [
        Restart(1, 2),
        Restart(2, 2),
        Restart(3, 2),
        GiveUp(3, "4 ends within 60 s, 3 are allowed"),
    ]


def test_the_window_moves_with_the_last_end() -> None:
    assert verdict(0, 20, 40, 59) == GiveUp(3, "4 ends within 60 s, 3 are allowed")
    assert verdict(0, 20, 40, 61) == Restart(3, 2)
    assert verdict(0, 20, 40, 61, 90) == Restart(3, 2)
    assert verdict(0, 20, 40, 61, 70) == GiveUp(3, "4 ends within 60 s, 3 are allowed")
    assert verdict(0, 20, 40, 61, 500) == Restart(1, 2)


def test_a_container_that_fails_seldom_is_restarted_for_ever() -> None:
    assert {verdict(*(n * 20.0 for n in range(runs))) for runs in range(3, 200)} == {Restart(3, 2)}


def test_a_run_as_long_as_the_window_wipes_the_slate_clean() -> None:
    assert verdict(0, 1, 2, 62) == Restart(1, 2)
    assert verdict(0, 1, 2, 62, 62.5) == Restart(2, 2)


def test_no_restart_at_all_can_be_allowed() -> None:
    none = IntensitySettings(restarts=0)
    assert verdict(0, settings=none) == GiveUp(0, "1 ends within 60 s, 0 are allowed")


def test_a_restart_can_be_had_at_once() -> None:
    assert verdict(0, 1, settings=IntensitySettings(delay=0)) == Restart(2, 0)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (RestartPolicy(max_attempts=1), GiveUp(1, "2 ends within 60 s, 1 are allowed")),
        (RestartPolicy(max_attempts=9), Restart(2, 2)),
        (RestartPolicy(stable_after=1), Restart(1, 2)),
        (RestartPolicy(first_delay=7), Restart(2, 7)),
        (RestartPolicy(max_delay=1), Restart(2, 1)),
        (RestartPolicy(first_delay=7, max_delay=3), Restart(2, 3)),
        (RestartPolicy(factor=9, jitter=1), Restart(2, 2)),
    ],
)
def test_a_containers_own_wish_wins_where_it_has_a_meaning(
    own: RestartPolicy, expected: Restart | GiveUp
) -> None:
    assert verdict(0, 1, restart=own) == expected


def test_ends_that_seem_to_lie_in_the_future_do_not_count_for_longer_than_others() -> None:
    assert verdict(9000, 9001, 9002, 5) == Restart(1, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"restarts": -1},
        {"window": -1.0},
        {"window": 86401.0},
        {"delay": -0.1},
        {"delay": float("inf")},
        {"delay": float("nan")},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        IntensitySettings(**wrong)  # type: ignore[arg-type]
