"""The engine's notices: in order, none missed, no thread left."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from flow_manager_core.errors import EngineUnavailable
from flow_manager_core.models import EngineEvent, EngineEventKind
from flow_manager_docker import DockerBackend, watching
from plugins.docker.tests.workshop import PATIENCE, STUBBORN, Workshop, until

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

K = EngineEventKind


async def upto(events: AsyncIterator[EngineEvent], kind: EngineEventKind) -> list[EngineEvent]:
    seen = []
    with anyio.fail_after(PATIENCE):
        async for event in events:
            seen.append(event)
            if event.kind is kind:
                return seen
    raise AssertionError(f"the events ended: {seen}")


async def test_a_stop_is_told_as_it_happens(backend: DockerBackend, shop: Workshop) -> None:
    async with backend.watch() as events:
        made = await shop.running(backend, shop.plan("a", *STUBBORN))
        await backend.stop(made, 1.0)
        await backend.remove(made)
        seen = await upto(events, K.REMOVED)
    assert [(e.kind, e.signal) for e in seen] == [
        (K.STARTED, None),
        (K.SIGNALLED, 15),
        (K.SIGNALLED, 9),
        (K.DIED, None),
        (K.STOPPED, None),
        (K.REMOVED, None),
    ]
    assert {e.container_id for e in seen} == {made}
    assert [e.at for e in seen] == sorted(e.at for e in seen)


async def test_a_pause_from_outside_and_a_kill_for_memory_are_told(
    backend: DockerBackend, shop: Workshop, sdk: Any
) -> None:
    async with backend.watch() as events:
        made = await shop.running(backend, shop.plan("a"))
        sdk.pause(made)
        sdk.unpause(made)
        seen = [await anext(events) for _ in range(3)]
    assert [e.kind for e in seen] == [K.STARTED, K.CHANGED, K.CHANGED]


async def test_what_happened_before_is_not_told(backend: DockerBackend, shop: Workshop) -> None:
    old = await shop.running(backend, shop.plan("old"))
    await backend.remove(old)
    async with backend.watch() as events:
        made = await shop.running(backend, shop.plan("a"))
        assert (await anext(events)).container_id == made


async def test_leaving_ends_the_thread_at_once(backend: DockerBackend) -> None:
    for _ in range(3):
        async with backend.watch():
            assert _readers() == 1
        assert _readers() == 0


def _readers() -> int:
    return sum(t.name == "docker-events" for t in threading.enumerate())


async def test_a_reader_that_falls_behind_is_sent_to_watch_again(
    backend: DockerBackend, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "QUEUE_LIMIT", 4)
    async with backend.watch() as events:
        for name in ("a", "b"):
            await backend.remove(await shop.running(backend, shop.plan(name)))

        async def given_up() -> bool:
            return _readers() == 0

        await until(given_up)
        with anyio.fail_after(PATIENCE):
            assert len([event async for event in events]) <= 4


async def test_an_engine_that_goes_away_breaks_the_watch(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    async with shop.open() as backend, backend.watch() as events:
        reader = events
        assert isinstance(reader, watching.EventReader)
        stream = reader._handle._stream
        assert stream is not None
        # As a daemon's death does: the connection ends in the midst of the answer.
        stream.abort()
        with pytest.raises(EngineUnavailable), anyio.fail_after(PATIENCE):
            await anext(events)
