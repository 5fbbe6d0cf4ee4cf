"""What two looks at a container say about what happened between them. Pure.

A run is named by its start time. An exit code alone proves nothing (137 and 143 come from stops
too): whether an end was asked for is known from what was asked before it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import frozen

from flow_manager_core.models import Container, ContainerState

#: Exit codes above this are a signal's number plus this, by the shells' and Docker's convention.
SIGNAL_BASE = 128


class Cause(StrEnum):
    """Why a run ended."""

    ASKED = "asked to by us"
    OUTSIDE = "asked to from outside"
    OUTAGE = "with the engine"
    ITSELF = "by itself"

    @property
    def asked(self) -> bool:
        """Whether somebody wanted it to end."""
        return self in (Cause.ASKED, Cause.OUTSIDE)


@frozen
class RunEnded:
    """A run is over.

    Args:
        container: as seen after the end; ``None`` when it runs again already, so that only the
            fact of the end is known.
        uptime: seconds that the run lasted.
        run: its start.
    """

    container: Container | None
    cause: Cause
    uptime: float
    run: datetime | None

    @property
    def crashed(self) -> bool:
        """Whether it ended by itself, with a code other than 0.

        Want of memory shows in the code: where a child alone was killed for it, the engine says
        so as well, but the program ended as it chose to.
        """
        if self.cause is not Cause.ITSELF or self.container is None:
            return False
        return self.container.exit_code != 0


@frozen
class Changes:
    """What happened: the states that were passed through, and the run that ended, if one did."""

    states: tuple[ContainerState, ...]
    ended: RunEnded | None = None


def shown_state(container: Container, *, asked: bool) -> ContainerState:
    """The state that clients see: ``stopped`` if asked to end or with code 0, else ``exited``."""
    if container.state is not ContainerState.EXITED:
        return container.state
    clean = container.exit_code == 0
    return ContainerState.STOPPED if asked or clean else ContainerState.EXITED


def compare(
    state: ContainerState, before: Container | None, after: Container, cause: Cause
) -> Changes:
    """Compare what was known with what is seen.

    Args:
        state: the state that clients were last shown.
        before: the last look.
        after: this look.
        cause: why the run of `after` ended, if it is over.
    """
    target = shown_state(after, asked=cause.asked)
    old_run = before.started_at if before else None
    if after.started_at is not None and after.started_at != old_run:
        return _new_run(state, before, after, target, cause)
    if state is target:
        return Changes(())
    ended = None
    if state.alive and target.ended:
        ended = _ended(after, cause)
    return Changes((target,), ended)


def _new_run(
    state: ContainerState,
    before: Container | None,
    after: Container,
    target: ContainerState,
    cause: Cause,
) -> Changes:
    """A run began since the last look, and an older one may have ended unseen."""
    passed: list[ContainerState] = []
    ended = None
    if state.alive and before is not None:
        passed.append(ContainerState.EXITED)
        uptime = _uptime(before.started_at, after.started_at)
        ended = RunEnded(None, Cause.ITSELF, uptime, before.started_at)
    passed.append(ContainerState.RUNNING)
    if target is not ContainerState.RUNNING:
        passed.append(target)
    if target.ended:
        ended = _ended(after, cause)
    return Changes(tuple(passed), ended)


def _ended(after: Container, cause: Cause) -> RunEnded:
    uptime = _uptime(after.started_at, after.finished_at)
    return RunEnded(after, cause, uptime, after.started_at)


def _uptime(started: datetime | None, ended: datetime | None) -> float:
    if started is None or ended is None:
        return 0.0
    return max(0.0, (ended - started).total_seconds())


def signal_of(container: Container) -> int | None:
    """The number of the signal that ended the run, if one did."""
    code = container.exit_code
    return (
        code - SIGNAL_BASE if code is not None and SIGNAL_BASE < code < SIGNAL_BASE + 65 else None
    )
