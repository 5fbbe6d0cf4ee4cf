"""The examination itself: third parties' checks, their failures, and what is mended."""

from __future__ import annotations

import os
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from flow_manager_core import PluginHost, Settings, hookimpl
from flow_manager_core.configuration import Configuration
from flow_manager_core.contracts import Onlooker
from flow_manager_core.desired import Desired
from flow_manager_core.doctor import Report, Result, examine, known_checks, repaired
from flow_manager_core.doctor.container_checks import is_looping
from flow_manager_core.doctor.study import service_of
from flow_manager_core.errors import ChannelError, EngineUnavailable
from flow_manager_core.findings import (
    Check,
    Finding,
    NotExamined,
    Scene,
    Severity,
    blocking,
    error,
    fine,
    in_thread,
    warning,
)
from flow_manager_core.instance_folder import instance_folder
from flow_manager_core.models import Container, ContainerState, EngineInfo, LogLine
from flow_manager_core.testing.memory_backend import memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

pytestmark = pytest.mark.anyio

CALM = Container(
    id="0123456789abcdef",
    name="calm",
    image="flow:1",
    state=ContainerState.RUNNING,
    created=datetime(2026, 1, 1, tzinfo=UTC),
)


class Eyes(Onlooker):
    """Of an engine in this test."""

    def __init__(self, trouble: Exception | None, unlisted: Exception | None) -> None:
        self._trouble, self._unlisted = trouble, unlisted

    async def ping(self) -> EngineInfo:
        if self._trouble:
            raise self._trouble
        return EngineInfo("acme", "7")

    async def containers(self) -> Sequence[Container]:
        if self._unlisted:
            raise self._unlisted
        return [CALM]

    async def names(self) -> Sequence[str]:
        return ["calm", "theirs"]

    async def tail(self, container_id: str, lines: int) -> Sequence[LogLine]:
        return []

    async def has_image(self, image: str) -> bool:
        return image == CALM.image


Examine = Callable[..., Awaitable[Report]]


@pytest.fixture
def examined(tmp_path: Path) -> Examine:
    """Examine a manager whose transport brings these checks, and whose engine may be in trouble."""

    async def run(
        *checks: Check,
        trouble: Exception | None = None,
        unlisted: Exception | None = None,
        blind: Exception | None = None,
        **rest: Any,
    ) -> Report:
        @asynccontextmanager
        async def onlook(_context: Any) -> AsyncIterator[Onlooker]:
            if blind:
                raise blind
            # What it starts must end in the task in which it began.
            async with anyio.create_task_group():
                yield Eyes(trouble, unlisted)

        transport = evolve(memory_transport_provider(MemoryNetwork()), checks=checks)
        module = types.ModuleType("acme")
        vars(module)["flow_manager_transports"] = hookimpl(lambda: [transport])
        vars(module)["flow_manager_container_backends"] = hookimpl(
            lambda: [evolve(memory_provider(), onlook=onlook)]
        )
        settings = Settings(
            backend="memory", transport="memory", state_dir=tmp_path, log_file="off"
        )
        host = PluginHost(plugins=[module], installed=False)
        return await examine(
            Configuration(settings=settings, host=host, provider_settings={}, origins={}), **rest
        )

    return run


def result(report: Report, name: str) -> Result:
    return next(one for one in report.results if one.name == name)


def check(look: Any, **rest: Any) -> Check:
    return Check(**{"name": "acme", "asks": "is acme well", "look": look, **rest})


def amiss(report: Report) -> set[str]:
    return {one.name for one in report.results if one.severity is not Severity.OK}


async def test_a_third_partys_check_is_told_of_the_scene_and_is_in_the_report(
    examined: Examine, tmp_path: Path
) -> None:
    scenes = []

    @blocking
    def look(context: Any, scene: Scene) -> Sequence[Finding]:
        scenes.append(scene)
        return [warning(f"{context.core.transport} creaks", "Oil it", details={"noise": 3})]

    report = await examined(check(look), images=["flow:1"])
    (scene,) = scenes
    assert (scene.containers, scene.service, scene.images) == ([CALM], None, ("flow:1",))
    assert scene.known == {"calm", "theirs"}
    assert (amiss(report), report.exit_code) == ({"acme"}, 1)
    told = report.to_json()["checks"][-1]
    assert (told["name"], told["source"], told["status"]) == ("acme", "transport_memory", "warning")
    assert told["findings"][0]["remedy"] == "Oil it"
    assert os.listdir(tmp_path) == []


async def test_a_check_that_raises_is_a_finding_and_not_the_end(examined: Examine) -> None:
    async def look(_context: Any, _scene: Scene) -> Sequence[Finding]:
        raise ZeroDivisionError("of \x1b[31macme")

    report = await examined(check(look))
    assert amiss(report) == {"acme"}
    (finding,) = result(report, "acme").findings
    assert finding.found == "The check itself failed: ZeroDivisionError: of ?[31macme"
    assert "transport_memory" in finding.remedy


async def test_an_answer_that_is_no_finding_is_one(examined: Examine) -> None:
    async def look(_context: Any, _scene: Scene) -> Any:
        return ["all is well"]

    (finding,) = result(await examined(check(look)), "acme").findings
    assert "it answered with a str where a Finding belongs" in finding.found


async def test_eyes_that_cannot_be_opened_are_the_engines_finding(examined: Examine) -> None:
    report = await examined(blind=OSError("no eyes"))
    assert amiss(report) == {"engine"}
    assert "OSError: no eyes" in result(report, "engine").findings[0].found


async def test_a_failure_with_a_name_keeps_its_words_and_its_remedy(examined: Examine) -> None:
    async def look(_context: Any, _scene: Scene) -> Sequence[Finding]:
        raise ChannelError("no way", hint="find one")

    (finding,) = result(await examined(check(look)), "acme").findings
    assert (finding.severity, finding.found, finding.remedy) == ("error", "no way", "find one")


async def test_a_check_that_hangs_is_given_up_at_its_deadline(examined: Examine) -> None:
    async def look(_context: Any, _scene: Scene) -> Sequence[Finding]:
        await anyio.sleep_forever()
        return ()

    with anyio.fail_after(20):
        report = await examined(check(look, seconds=0.05))
    (finding,) = result(report, "acme").findings
    assert finding.found == "The check did not come to an end within 0.05 seconds"


async def test_what_cannot_be_examined_is_no_finding(examined: Examine) -> None:
    async def look(_context: Any, _scene: Scene) -> Sequence[Finding]:
        raise NotExamined("no acme here")

    report = await examined(check(look))
    assert (amiss(report), report.exit_code) == (set(), 0)
    assert (result(report, "acme").status, result(report, "acme").skipped) == (
        "skipped",
        "no acme here",
    )


@pytest.mark.parametrize("when", ["trouble", "unlisted"])
async def test_an_engine_that_fails_is_told_once_and_what_needs_it_is_left_out(
    examined: Examine, when: str
) -> None:
    scenes = []

    async def look(_context: Any, scene: Scene) -> Sequence[Finding]:
        scenes.append(scene)
        return [fine("well")]

    needy = check(look, name="needy", needs_engine=True)
    away = EngineUnavailable("The engine is away", hint="Start it")
    report = await examined(check(look), needy, **{when: away})
    assert amiss(report) == {"engine"}
    assert result(report, "engine").findings[0].remedy == "Start it"
    left_out = {one.name for one in report.results if one.skipped}
    assert left_out == {"needy", "images", "containers", "crash-loops"}
    assert [(s.known, s.containers) for s in scenes] == [(None, ())]


async def test_only_what_is_asked_for_is_in_the_report(examined: Examine) -> None:
    async def look(_context: Any, scene: Scene) -> Sequence[Finding]:
        return [fine(f"{len(scene.containers)} containers")]

    report = await examined(check(look), only=["acme"])
    assert [one.name for one in report.results] == ["acme"]
    assert result(report, "acme").findings[0].found == "1 containers"


async def test_a_fix_that_fails_is_told_and_the_others_are_done(examined: Examine) -> None:
    done = []

    def fail() -> str:
        raise PermissionError("not yours")

    def refuse() -> str:
        raise ChannelError("somebody listens")

    def work() -> str:
        done.append(1)
        return "swept"

    async def look(_context: Any, _scene: Scene) -> Sequence[Finding]:
        return [warning(f.__name__, "sweep", fix=f) for f in (fail, refuse, work)]

    report = await repaired(await examined(check(look)))
    told = result(report, "acme")
    assert [(m.done, m.told) for _, m in told.mended] == [
        (False, "PermissionError: not yours"),
        (False, "somebody listens"),
        (True, "swept"),
    ]
    assert ([one.found for one in told.standing], report.exit_code) == (["fail", "refuse"], 1)
    assert done == [1]


async def test_a_call_that_blocks_does_not_hold_up_what_gives_it_up() -> None:
    gate = anyio.Event()
    token = anyio.lowlevel.current_token()

    def wait() -> None:
        anyio.from_thread.run(gate.wait, token=token)

    with anyio.move_on_after(0.05) as scope:
        await in_thread(wait)
    gate.set()
    assert scope.cancelled_caught


def test_every_check_has_one_name_and_one_question() -> None:
    checks = [check for _, check in known_checks(PluginHost())]
    assert len({check.name for check in checks}) == len(checks) == 28
    assert all(check.asks and check.asks[-1] not in ".?" for check in checks)


def test_the_service_is_known_by_its_lock_and_the_lock_is_not_touched(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    with instance_folder(settings) as folder:
        lock = folder / "lock"
        before = lock.stat()
        assert service_of(lock) == int(lock.read_text())
        assert lock.stat() == before
    assert service_of(lock) is None


NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("uptimes", "ended", "looping"),
    [
        ((0.1, 0.1, 0.1), NOW - 5, True),
        ((900.0, 0.1, 0.1, 0.1), NOW - 5, True),
        ((0.1, 0.1), NOW - 5, False),
        ((0.1, 300.0, 0.1), NOW - 5, False),
        ((0.1, 0.1, 0.1), NOW - 5000, False),
        ((), NOW, False),
    ],
)
def test_a_loop_is_several_short_runs_in_a_row_not_long_ago(
    uptimes: tuple[float, ...], ended: float, looping: bool
) -> None:
    desired = Desired(key="1", name="x", uptimes=uptimes, ends=(ended,) * len(uptimes))
    assert is_looping(desired, NOW) is looping


def test_the_worst_decides_the_exit_code() -> None:
    fine_one, small, bad = fine("a"), warning("b", "c"), error("d", "e")
    for findings, code in (((fine_one,), 0), ((fine_one, small), 1), ((bad, small), 2)):
        report = Report((Result(name="x", source="core", findings=findings),))
        assert report.exit_code == code
