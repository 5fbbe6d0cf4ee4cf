"""Checks of containers: stuck in a state, lost, unhealthy, or crashing again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import anyio

from flow_manager_core.desired import Desired, Job, Wish
from flow_manager_core.doctor.study import Study
from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.findings import Finding, NotExamined, Scene, error, fine, warning
from flow_manager_core.lifecycle import signal_of
from flow_manager_core.models import Container, ContainerState, Health, LogLine

#: Seconds in which a container may pass through a state of the engine's own.
PASSING = 3.0
#: Seconds in which a container that is to run may be waiting for its start.
STARTING = 30.0
#: A loop: so many ended runs, each shorter than so many seconds, the last not longer ago than this.
RUNS, SHORT, RECENT = 3, 60.0, 900.0
#: Lines of a log that a finding shows, and characters of one.
TAIL, WIDTH = 10, 200

STUCK = frozenset({ContainerState.REMOVING, ContainerState.RESTARTING, ContainerState.DEAD})
START = (
    "Check the container's logs; verify volume mounts and permissions;"
    " check system resources (memory, disk space)"
)


async def stuck(study: Study, _scene: Scene) -> Sequence[Finding]:
    """Hold what the engine shows against what is recorded; passing states are looked at twice."""
    if any(container.state in STUCK for container in study.containers):
        before = {c.id for c in study.containers if c.state in STUCK}
        await anyio.sleep(PASSING)
        now = await study.eyes().containers()
        study.containers = [c for c in now if c.state not in STUCK or c.id in before]
    wishes = {d.container_id: d for d in study.past.desired.values()} if study.past else {}
    found = [f for c in study.containers if (f := _amiss(c, wishes.get(c.id)))]
    found += _lost(study, wishes)
    return found or [fine(f"{len(study.containers)} are as they should be")]


def _amiss(container: Container, desired: Desired | None) -> Finding | None:
    details = {"container_id": container.short_id, "name": container.name}
    who = f"The container {container.name} ({container.short_id})"
    if container.state in STUCK:
        remedy = "Delete the container and create it anew; if that fails restart the engine"
        return error(f"{who} stays {container.state}", remedy, details=details)
    if container.state is ContainerState.PAUSED:
        remedy = "Let it go on (docker unpause): until then its flow answers nothing"
        return warning(f"{who} is paused", remedy, details=details)
    if container.health is Health.UNHEALTHY:
        remedy = "Check container resource usage; restart the container if it is unresponsive"
        return warning(f"{who} is unhealthy by its own check", remedy, details=details)
    if container.state is ContainerState.CREATED and _should_run(container, desired):
        why = f": {container.error}" if container.error else ""
        return error(f'{who} remains in "created" state{why}', START, details=details)
    return None


def _should_run(container: Container, desired: Desired | None) -> bool:
    if container.error:
        return True
    age = (datetime.now(UTC) - container.created).total_seconds()
    return desired is not None and desired.wish is Wish.UP and age > STARTING


def _lost(study: Study, wishes: dict[str, Desired]) -> Iterator[Finding]:
    there = {container.id for container in study.containers}
    for container_id, desired in wishes.items():
        done = desired.job is Job.NONE and desired.wish is not Wish.GONE
        if container_id and done and container_id not in there:
            told = f"The container {desired.name} ({container_id[:12]}) is recorded, and not there"
            backend = study.picked.backend.name if study.picked.backend else ""
            remedy = (
                f"Check that the backend {backend!r}, and DOCKER_HOST, name the engine that has it;"
                " if it was deleted, the next start of the service forgets it"
            )
            yield warning(told, remedy, details={"container_id": container_id[:12]})


async def crash_loops(study: Study, _scene: Scene) -> Sequence[Finding]:
    """Look at how the latest runs ended; the engine's own count of restarts knows nothing of it."""
    if study.past is None:
        raise NotExamined("the journal cannot be read")
    now = time.time()
    there = {container.id: container for container in study.containers}
    looping = [
        (there[desired.container_id], desired)
        for desired in study.past.desired.values()
        if desired.container_id in there and is_looping(desired, now)
    ]
    return [await _crashing(study, *one) for one in looping] or [fine("none")]


def is_looping(desired: Desired, now: float) -> bool:
    """Whether the latest runs were short, and ended not long ago; pure.

    Args:
        now: seconds since the epoch.
    """
    latest = desired.uptimes[-RUNS:]
    return (
        len(latest) == RUNS
        and max(latest) < SHORT
        and bool(desired.ends)
        and now - desired.ends[-1] < RECENT
    )


async def _crashing(study: Study, container: Container, desired: Desired) -> Finding:
    lines = await _tail(study, container)
    longest = max(desired.uptimes[-RUNS:])
    told = (
        f"The container {container.name} ({container.short_id}) crashes again and again:"
        f" {len(desired.uptimes)} runs ended, the last {RUNS} within {longest:.1f} seconds each"
        f"{_cause(container)}"
    )
    remedy = "Check container logs; correct the program or its environment, then recreate it"
    if container.oom_killed:
        remedy = "Check container resource usage; give it more memory (resources.memory)"
    details = {
        "container_id": container.short_id,
        "name": container.name,
        "restarts": desired.restarts,
        "exit_code": container.exit_code,
        "oom_killed": container.oom_killed,
    }
    return error(told, remedy, lines=lines, details=details)


async def _tail(study: Study, container: Container) -> tuple[str, ...]:
    try:
        found = await study.eyes().tail(container.id, TAIL)
    except ContainerNotFound:
        return ()
    return tuple(map(_shown, found))


def _shown(line: LogLine) -> str:
    # What a program wrote must not act upon the terminal that shows it.
    cut = line.line[:WIDTH]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def _cause(container: Container) -> str:
    if container.oom_killed:
        return "; killed for want of memory"
    if container.exit_code is None:
        return ""
    number = signal_of(container)
    told = f", by signal {number}" if number else ""
    return f"; the exit code is {container.exit_code}{told}"
