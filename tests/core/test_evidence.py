"""Why a run ended, from what was asked, what the engine told, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from signal import SIGKILL, SIGTERM, SIGUSR1

import pytest

from flow_manager_core.evidence import Notes, Outside, ended_with_engine
from flow_manager_core.models import (
    Container,
    ContainerState,
    EngineEvent,
    EngineEventKind,
    EngineInfo,
)

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = BEGAN + timedelta(seconds=100)
PATIENCE = 10.0
STOPPED = EngineEventKind.STOPPED


def seen(code: int, *, oom: bool = False) -> Container:
    return Container(
        id="a" * 64,
        name="x",
        image="i",
        state=ContainerState.EXITED,
        created=BEGAN,
        started_at=BEGAN,
        finished_at=ENDED,
        exit_code=code,
        oom_killed=oom,
    )


def heard(*told: tuple[float, int | EngineEventKind]) -> Notes:
    """Notes of signals and other events, at seconds before (-) or after the run's end."""
    notes = Notes()
    for at, what in told:
        kind = what if isinstance(what, EngineEventKind) else EngineEventKind.SIGNALLED
        signal = None if isinstance(what, EngineEventKind) else what
        event = EngineEvent(
            kind=kind, container_id="a" * 64, at=ENDED.timestamp() + at, signal=signal
        )
        notes.hear(event)
        notes.hear(event)
    return notes


@pytest.mark.parametrize(
    ("notes", "code", "verdict"),
    [
        (heard(), 143, Outside.NO),
        (heard((-0.1, SIGTERM)), 143, Outside.YES),
        (heard((-0.1, SIGTERM)), 0, Outside.YES),
        (heard((-0.1, SIGTERM)), 3, Outside.YES),
        (heard((-10, SIGTERM), (-0.1, SIGKILL)), 137, Outside.YES),
        (heard((-10, SIGTERM), (-0.1, SIGKILL), (0.05, STOPPED)), 137, Outside.YES),
        (heard((-0.1, SIGKILL)), 137, Outside.NO),
        (heard((-0.1, SIGUSR1)), 5, Outside.PERHAPS),
        (heard((-0.1, SIGUSR1), (0.05, STOPPED)), 5, Outside.YES),
        (heard((-0.1, SIGUSR1)), 128 + SIGUSR1, Outside.YES),
        (heard((-5, SIGTERM)), 3, Outside.PERHAPS),
        (heard((-5, SIGTERM), (0.05, STOPPED)), 3, Outside.YES),
        (heard((-5, SIGTERM)), 137, Outside.NO),
        (heard((-60, SIGTERM)), 3, Outside.PERHAPS),
        (heard((-300, SIGTERM)), 143, Outside.NO),
        (heard((-300, STOPPED)), 143, Outside.NO),
    ],
)
def test_an_end_is_an_outside_stop_only_if_somebody_asked_for_it(
    notes: Notes, code: int, verdict: Outside
) -> None:
    assert notes.asked_outside(seen(code), PATIENCE) is verdict


def engine(since: float | None, *, keeps_flows: bool = False) -> EngineInfo:
    at = None if since is None else ENDED + timedelta(seconds=since)
    return EngineInfo("e", "1", life="two", since=at, keeps_flows=keeps_flows)


@pytest.mark.parametrize(
    ("notes", "code", "back", "with_engine"),
    [
        # Killed or told to end by an engine that comes back or goes: before it took requests.
        (heard((-0.1, SIGTERM), (0.05, STOPPED)), 143, engine(1), True),
        (heard((-0.1, SIGTERM), (0.05, STOPPED)), 0, engine(1), True),
        (heard(), 143, engine(1), True),
        (heard(), 137, engine(1), True),
        (heard(), 0, engine(1), True),
        (heard(), 255, engine(None), True),
        # A word of an engine that was there already: somebody's stop.
        (heard((-0.1, SIGTERM), (0.05, STOPPED)), 143, engine(-50), False),
        # By itself while nobody looked.
        (heard(), 3, engine(1), False),
        (heard(), 139, engine(1), False),
        (heard(), 137, engine(-50), False),
        # An engine whose restart ends nothing.
        (heard(), 137, engine(1, keeps_flows=True), False),
    ],
)
def test_an_engine_that_was_restarted_explains_what_it_ended_and_nothing_else(
    notes: Notes, code: int, back: EngineInfo, with_engine: bool
) -> None:
    outside = notes.asked_outside(seen(code), PATIENCE)
    found = ended_with_engine(
        seen(code), notes, outside, back, blind_since=None, killed_others=False
    )
    assert found is with_engine


@pytest.mark.parametrize("code", [0, 137, 143])
def test_an_engine_that_remembers_whom_it_ended_did_not_end_the_others(code: int) -> None:
    assert not ended_with_engine(
        seen(code), Notes(), Outside.NO, engine(1), blind_since=None, killed_others=True
    )


def test_memory_ran_out_while_the_engine_was_away_is_the_programs_own_end() -> None:
    assert not ended_with_engine(
        seen(137, oom=True), Notes(), Outside.NO, engine(1), blind_since=None, killed_others=False
    )


@pytest.mark.parametrize("code", [0, 137, 143])
def test_what_ended_after_the_engines_last_word_and_before_its_return_ended_by_itself(
    code: int,
) -> None:
    found = [
        ended_with_engine(
            seen(code),
            Notes(),
            Outside.NO,
            engine(5),
            blind_since=ENDED.timestamp() + seconds,
            killed_others=False,
        )
        for seconds in (-2, +2)
    ]
    assert found == [False, True]
