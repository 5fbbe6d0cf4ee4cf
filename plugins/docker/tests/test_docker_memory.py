"""What the engine remembers of events that nobody followed."""

from __future__ import annotations

from typing import Any

import pytest
from anyio import to_thread

from flow_manager_core.models import EngineEvent, EngineEventKind
from flow_manager_docker import DockerBackend
from plugins.docker.tests.workshop import Workshop, clear
from tests.support.images import FLOW_IMAGE
from tests.support.restartable_engine import RestartableEngine

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

K = EngineEventKind


def told(events: Any, container_id: str) -> list[tuple[EngineEventKind, int | None]]:
    return [(e.kind, e.signal) for e in events if e.container_id == container_id]


async def test_a_stop_and_a_kill_from_outside_are_told_apart_afterwards(
    backend: DockerBackend, shop: Workshop, sdk: Any
) -> None:
    stopped = await shop.running(backend, shop.plan("a"))
    killed = await shop.running(backend, shop.plan("b"))
    await to_thread.run_sync(sdk.stop, stopped)
    await to_thread.run_sync(sdk.kill, killed)
    await shop.ended(backend, killed)
    events = await backend.recall()
    assert [e.at for e in events] == sorted(e.at for e in events)
    assert told(events, stopped) == [
        (K.STARTED, None),
        (K.SIGNALLED, 15),
        (K.DIED, None),
        (K.STOPPED, None),
    ]
    assert told(events, killed) == [(K.STARTED, None), (K.SIGNALLED, 9), (K.DIED, None)]


async def test_another_instances_past_is_not_told(backend: DockerBackend, shop: Workshop) -> None:
    other = shop.other()
    async with other.open() as theirs:
        made = await other.running(theirs, other.plan("a"))
        await theirs.remove(made)
    assert await backend.recall() == []


async def test_an_engine_that_was_killed_remembers_how_it_ended_the_flows_on_its_return(
    restartable_engine: RestartableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, seen = await after_an_outage(restartable_engine, monkeypatch, killed=True)
    assert {e.kind for e in events} >= {K.DIED}
    assert seen.exit_code in (137, 143)


async def test_an_engine_that_was_stopped_in_order_has_forgotten(
    restartable_engine: RestartableEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, seen = await after_an_outage(restartable_engine, monkeypatch, killed=False)
    assert events == []
    assert seen.exit_code == 143


async def after_an_outage(
    engine: RestartableEngine, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> tuple[list[EngineEvent], Any]:
    """Run a flow, end the engine, start it again; what it remembers, and the flow."""
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    shop = Workshop(FLOW_IMAGE)
    async with shop.open() as backend:
        assert isinstance(backend, DockerBackend)
        made = await shop.running(backend, shop.plan("a"))
        await to_thread.run_sync(engine.kill if killed else engine.terminate)
        await to_thread.run_sync(engine.start)
        events = list(await backend.recall())
        seen = await backend.inspect(made)
        await clear(backend)
    return events, seen
