"""What is to be done, from what is meant to be and what is seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flow_manager_core.desired import Desired, Job, Need, Wish, need
from flow_manager_core.models import Container, ContainerState

RUN = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = RUN + timedelta(hours=1)


def container(state: ContainerState, run: datetime | None = RUN) -> Container:
    return Container(id="a", name="x", image="i", state=state, created=RUN, started_at=run)


MADE = container(ContainerState.CREATED, None)
RUNS = container(ContainerState.RUNNING)
ENDED = container(ContainerState.EXITED)


@pytest.mark.parametrize(
    ("told", "seen", "step"),
    [
        ({"wish": Wish.UP}, RUNS, Need.NOTHING),
        ({"wish": Wish.UP}, MADE, Need.START),
        ({"wish": Wish.UP, "asked_run": RUN}, ENDED, Need.START),
        ({"wish": Wish.UP, "ended_run": RUN}, ENDED, Need.RECOVER),
        ({"wish": Wish.UP}, ENDED, Need.NOTHING),
        ({"wish": Wish.UP, "ended_run": OTHER}, ENDED, Need.NOTHING),
        ({"wish": Wish.DOWN}, MADE, Need.NOTHING),
        ({"wish": Wish.DOWN}, ENDED, Need.NOTHING),
        ({"wish": Wish.DOWN, "asked_run": RUN}, RUNS, Need.FINISH_STOP),
        ({"wish": Wish.DOWN, "asked_run": OTHER}, RUNS, Need.NOTHING),
        ({"wish": Wish.GONE}, RUNS, Need.FINISH_DELETE),
        ({"wish": Wish.GONE, "job": Job.CREATE}, MADE, Need.FINISH_DELETE),
        ({"job": Job.CREATE}, MADE, Need.FINISH_CREATE),
        ({"wish": Wish.UP, "job": Job.UPDATE}, RUNS, Need.UNDO_UPDATE),
    ],
)
def test_each_difference_has_its_step(told: dict[str, object], seen: Container, step: Need) -> None:
    assert need(Desired(key="k", name="x", **told), seen) is step  # type: ignore[arg-type]


def test_a_desired_state_survives_the_disk() -> None:
    desired = Desired(
        key="k",
        name="n",
        wish=Wish.UP,
        job=Job.UPDATE,
        asked_run=RUN,
        uptimes=(1.5,),
        ends=(2.5,),
        restarts=3,
    )
    assert Desired.from_json(desired.to_json()) == desired


def test_what_a_later_version_keeps_besides_is_left_out() -> None:
    desired = Desired(key="k", name="n")
    assert Desired.from_json({**desired.to_json(), "colour": "blue"}) == desired
