"""What two looks at a container say about what happened in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flow_manager_core.lifecycle import Cause, compare, shown_state, signal_of
from flow_manager_core.models import Container, ContainerState

T0 = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ContainerState


def seen(
    state: ContainerState,
    *,
    run: int | None = None,
    lasted: float | None = None,
    code: int | None = None,
    oom: bool = False,
) -> Container:
    started = None if run is None else T0 + timedelta(hours=run)
    finished = None if started is None or lasted is None else started + timedelta(seconds=lasted)
    return Container(
        id="a" * 64,
        name="x",
        image="i",
        state=state,
        created=T0,
        started_at=started,
        finished_at=finished,
        exit_code=code,
        oom_killed=oom,
    )


CREATED = seen(STATES.CREATED)
RUNNING = seen(STATES.RUNNING, run=1)


def test_a_first_start_is_told_as_running() -> None:
    changes = compare(STATES.CREATED, CREATED, RUNNING, Cause.ITSELF)
    assert changes.states == (STATES.RUNNING,)
    assert changes.ended is None


def test_looking_twice_at_the_same_tells_nothing() -> None:
    assert compare(STATES.RUNNING, RUNNING, RUNNING, Cause.ITSELF).states == ()


@pytest.mark.parametrize(
    ("code", "oom", "asked", "state", "crashed"),
    [
        (0, False, False, STATES.STOPPED, False),
        (3, False, False, STATES.EXITED, True),
        (137, False, False, STATES.EXITED, True),
        (137, False, True, STATES.STOPPED, False),
        (143, False, True, STATES.STOPPED, False),
        (0, True, False, STATES.STOPPED, False),
        (137, True, False, STATES.EXITED, True),
    ],
)
def test_an_end_is_a_crash_unless_asked_for_or_clean(
    code: int, oom: bool, asked: bool, state: ContainerState, crashed: bool
) -> None:
    ended = seen(STATES.EXITED, run=1, lasted=5, code=code, oom=oom)
    changes = compare(STATES.RUNNING, RUNNING, ended, Cause.ASKED if asked else Cause.ITSELF)
    assert changes.states == (state,)
    assert changes.ended is not None
    assert changes.ended.crashed is crashed
    assert changes.ended.uptime == 5


def test_a_run_that_began_and_ended_between_two_looks_is_told_as_both() -> None:
    ended = seen(STATES.EXITED, run=1, lasted=0.1, code=1)
    changes = compare(STATES.CREATED, CREATED, ended, Cause.ITSELF)
    assert changes.states == (STATES.RUNNING, STATES.EXITED)
    assert changes.ended is not None
    assert changes.ended.crashed


def test_a_restart_behind_our_back_is_told_and_is_no_proof_of_a_crash() -> None:
    changes = compare(STATES.RUNNING, RUNNING, seen(STATES.RUNNING, run=2), Cause.ITSELF)
    assert changes.states == (STATES.EXITED, STATES.RUNNING)
    assert changes.ended is not None
    assert not changes.ended.crashed


def test_a_failed_start_leaves_created_and_tells_nothing() -> None:
    failed = seen(STATES.CREATED, code=127)
    assert compare(STATES.CREATED, CREATED, failed, Cause.ITSELF).states == ()


def test_pausing_ends_no_run() -> None:
    paused = seen(STATES.PAUSED, run=1)
    changes = compare(STATES.RUNNING, RUNNING, paused, Cause.ITSELF)
    assert changes.states == (STATES.PAUSED,)
    assert changes.ended is None


def test_shown_state_keeps_what_has_not_ended() -> None:
    assert shown_state(RUNNING, asked=True) is STATES.RUNNING


@pytest.mark.parametrize(
    ("code", "number"), [(137, 9), (143, 15), (1, None), (0, None), (255, None)]
)
def test_codes_above_128_name_a_signal(code: int, number: int | None) -> None:
    assert signal_of(seen(STATES.EXITED, run=1, lasted=1, code=code)) == number
