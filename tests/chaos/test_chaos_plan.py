"""A chaos run can be repeated: its plan is made of its seed alone."""

from __future__ import annotations

import pytest

from tests.chaos.crashes import Caused, Crashes
from tests.chaos.model import DOWN, GONE, UP, Flow
from tests.chaos.plan import CLIENTS, FLOWS, HANDS, Action, make_plan


def test_the_same_seed_makes_the_same_plan() -> None:
    assert make_plan(7, 90) == make_plan(7, 90)
    assert make_plan(7, 90) != make_plan(8, 90)


def test_a_longer_run_begins_as_a_shorter_one_does() -> None:
    assert make_plan(7, 300)[: len(make_plan(7, 90))] == make_plan(7, 90)


@pytest.mark.parametrize("seed", range(20))
def test_every_trouble_and_every_action_comes_within_two_deals(seed: int) -> None:
    plan = make_plan(seed, 15 * 2 * len(HANDS))
    troubles = {event.trouble for round_ in plan for event in round_.events}
    assert troubles == {trouble for hand in HANDS for trouble in hand}
    actions = {step.action for round_ in plan for script in round_.scripts for step in script}
    assert actions == set(Action)
    assert all(len(round_.scripts) == FLOWS > CLIENTS for round_ in plan)
    assert all("\n" not in line for round_ in plan for line in round_.lines())


def test_an_unanswered_request_leaves_both_possible_until_the_next_answer() -> None:
    flow = Flow("f", "on-crash", deaf=False)
    flow.made(1)
    flow.doubtful(DOWN)
    assert flow.wishes == {UP, DOWN}
    flow.acknowledged(UP)
    assert flow.wishes == {UP}


@pytest.mark.parametrize(
    ("policy", "code", "wishes"),
    [
        ("on-crash", 3, {UP}),
        ("on-crash", None, {UP}),
        ("on-crash", 0, {DOWN}),
        ("always", 0, {UP}),
        ("never", 3, {DOWN}),
    ],
)
def test_an_end_leaves_what_the_policy_says(
    policy: str, code: int | None, wishes: set[str]
) -> None:
    flow = Flow("f", policy, deaf=False)
    flow.made(1)
    flow.ended(code)
    assert flow.wishes == wishes


def test_a_flow_that_was_never_made_may_not_be_found() -> None:
    flow = Flow("f", "never", deaf=False)
    assert flow.missing()
    flow.made(1)
    assert not flow.missing()
    flow.doubtful(GONE)
    assert flow.missing()
    assert flow.wishes == {GONE}


class _Calm:
    windows = ()


def test_a_crash_is_to_be_told_once_and_no_other() -> None:
    crashes = Crashes(_Calm())  # type: ignore[arg-type]
    crashes.cause(Caused("a", 0.0, 0.1, killed=True, certain=True))
    assert crashes.missed() == ["a: 0 crashes told, 1 caused"]
    crashes.tell("a")
    assert crashes.missed() == crashes.false() == []
    crashes.tell("a")
    crashes.tell("b")
    assert crashes.false() == [
        "a: 2 crashes told, at most 1 caused",
        "b: 1 crashes told, at most 0 caused",
    ]


def test_a_removal_by_force_may_be_told_as_a_crash() -> None:
    crashes = Crashes(_Calm())  # type: ignore[arg-type]
    crashes.force("a")
    assert crashes.missed() == []
    crashes.tell("a")
    assert crashes.false() == []
