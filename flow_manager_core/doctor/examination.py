"""Runs the checks: the core's and the engine's first, then those that build upon them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
from attrs import frozen

from flow_manager_core.configuration import Configuration
from flow_manager_core.doctor import (
    container_checks,
    engine_checks,
    host_checks,
    setting_checks,
    state_checks,
)
from flow_manager_core.doctor.report import Report, Result
from flow_manager_core.doctor.study import Study
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.findings import (
    Check,
    Finding,
    NotExamined,
    Severity,
    blocking,
    error,
)
from flow_manager_core.plugin_records import told
from flow_manager_core.plugins import PluginHost
from flow_manager_core.providers import Provider

CORE = "core"
ENGINE = "engine"
#: Seconds in which the engine's containers are to be listed.
LOOKING_ROUND = 10.0

#: Of the core, on what is there without an engine: ``look(study, scene)`` as for a provider.
FIRST = (
    Check(
        name="settings",
        asks="can a service start with these settings",
        look=blocking(setting_checks.settings),
    ),
    Check(
        name="plugins",
        asks="is what is chosen installed, and does every plugin load",
        look=blocking(setting_checks.plugins),
    ),
    Check(
        name="token",
        asks="can the kept token be read, by its owner alone",
        look=blocking(setting_checks.token),
    ),
    Check(
        name="log-file",
        asks="can the manager's log be written",
        look=blocking(setting_checks.log_file),
    ),
    Check(
        name="volume-roots",
        asks="are the folders there that clients may name",
        look=blocking(setting_checks.volume_roots),
    ),
    Check(
        name="state-folder",
        asks="can the state folder be used",
        look=blocking(state_checks.state_folder),
    ),
    Check(
        name="journal",
        asks="can the journal be read",
        look=blocking(state_checks.journal),
    ),
    Check(name="clock", asks="is this host's clock right", look=blocking(state_checks.clock)),
    Check(name="disk", asks="is there room on the disks", look=blocking(host_checks.disk)),
    Check(name="memory", asks="is there memory left", look=blocking(host_checks.memory)),
    Check(
        name="descriptors",
        asks="are there file descriptors left",
        look=blocking(host_checks.descriptors),
    ),
    Check(
        name=ENGINE,
        asks="does the engine answer, and are we permitted to use it",
        look=engine_checks.engine,
    ),
)
#: Of the core, on containers.
SECOND = (
    Check(
        name="images",
        asks="are the containers' images present",
        look=engine_checks.images,
        needs_engine=True,
    ),
    Check(
        name="containers",
        asks="is a container stuck, lost or unhealthy",
        look=container_checks.stuck,
        needs_engine=True,
    ),
    Check(
        name="crash-loops",
        asks="does a container crash again and again",
        look=container_checks.crash_loops,
        needs_engine=True,
    ),
)


@frozen
class _Job:
    """A check with what it is called with."""

    check: Check
    source: str
    look: Callable[[], Awaitable[Sequence[Finding]]]


def known_checks(host: PluginHost) -> Iterator[tuple[str, Check]]:
    """All checks with their sources: the core's, and those of all providers that are installed."""
    yield from ((CORE, check) for check in (*FIRST, *SECOND))
    for provider in host.all_providers():
        yield from ((provider.qualified, check) for check in provider.checks)


async def examine(
    configuration: Configuration, *, only: Collection[str] = (), images: Sequence[str] = ()
) -> Report:
    """Run the checks of the core and of the chosen providers.

    Args:
        only: names of the checks to run; empty: all. What these need is looked at as well.
        images: images to look for besides the containers' own.
    """
    async with AsyncExitStack() as stack:
        study = await Study.begun(configuration, images)
        await study.open_eyes(stack)
        first = await _all(_wanted(_core(study, FIRST), {*only, ENGINE} if only else ()))
        reason = await _engine_trouble(study, first)
        second = [*_core(study, SECOND), *_providers(study)]
        rest = await _all(_wanted(second, only), without_engine=reason)
        results = [*first, *rest]
        return Report(tuple(r for r in results if not only or r.name in only))


def _core(study: Study, checks: Sequence[Check]) -> list[_Job]:
    # What a core check is told of the scene it takes from the study.
    return [_Job(c, CORE, partial(c.look, study, study.scene)) for c in checks]


def _providers(study: Study) -> list[_Job]:
    return [job for provider in study.providers for job in _of(study, provider)]


def _of(study: Study, provider: Provider) -> Iterator[_Job]:
    context, scene = study.context(provider), study.scene
    for check in provider.checks:
        yield _Job(check, provider.qualified, partial(check.look, context, scene))


def _wanted(jobs: Sequence[_Job], only: Collection[str]) -> list[_Job]:
    return [job for job in jobs if not only or job.check.name in only]


async def _engine_trouble(study: Study, first: list[Result]) -> str:
    """Look at the containers; say why that cannot be, which is the engine's finding too."""
    at = next(number for number, result in enumerate(first) if result.name == ENGINE)
    if first[at].skipped:
        return first[at].skipped
    if first[at].severity is Severity.ERROR:
        return "the engine does not answer"
    looking = Check(name=ENGINE, asks="", look=_look_round, seconds=LOOKING_ROUND)
    result = await _result(_Job(looking, CORE, partial(_look_round, study)))
    if result.findings:
        first[at] = result
        return "the engine's containers cannot be listed"
    return result.skipped


async def _look_round(study: Study, _scene: object = None) -> Sequence[Finding]:
    await study.look_round()
    return ()


async def _all(jobs: Sequence[_Job], without_engine: str = "") -> list[Result]:
    """Run them at the same time; the results keep the jobs' order."""
    results: dict[int, Result] = {}

    async def run(number: int, job: _Job) -> None:
        results[number] = await _result(job)

    async with anyio.create_task_group() as group:
        for number, job in enumerate(jobs):
            if without_engine and job.check.needs_engine:
                name, source = job.check.name, job.source
                results[number] = Result(name=name, source=source, skipped=without_engine)
            else:
                group.start_soon(run, number, job)
    return [results[number] for number in sorted(results)]


async def _result(job: _Job) -> Result:
    name, source = job.check.name, job.source
    try:
        with anyio.fail_after(job.check.seconds):
            found = _findings(await job.look())
    except NotExamined as reason:
        return Result(name=name, source=source, skipped=str(reason))
    except TimeoutError:
        told_ = f"The check did not come to an end within {job.check.seconds:g} seconds"
        found = (error(told_, "Check what it looks at: something there does not answer"),)
    except FlowManagerError as problem:
        found = (error(problem.message, problem.hint),)
    except Exception as problem:  # noqa: BLE001  # a check that fails is a finding, not the end
        remedy = f"Report it to whoever made {source}, or leave it out"
        found = (error(f"The check itself failed: {told(problem)}", remedy),)
    return Result(name=name, source=source, findings=found)


def _findings(found: Sequence[Any]) -> tuple[Finding, ...]:
    strangers = [type(one).__name__ for one in found if not isinstance(one, Finding)]
    if strangers:
        raise TypeError(f"it answered with a {strangers[0]} where a Finding belongs")
    return tuple(found)
