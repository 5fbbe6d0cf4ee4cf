"""Cases: what the engine tells by itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
import pytest

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.models import EngineEvent, EngineEventKind
from flow_manager_core.testing.backend_cases.programs import BackendPrograms

STARTED, DIED, REMOVED = (
    EngineEventKind.STARTED,
    EngineEventKind.DIED,
    EngineEventKind.REMOVED,
)
LANDMARKS = (STARTED, DIED, REMOVED)


class WatchCases(BackendPrograms):
    """`ContainerBackend.watch`."""

    async def upto(
        self,
        events: AsyncIterator[EngineEvent],
        kind: EngineEventKind,
        container_id: str,
    ) -> list[EngineEventKind]:
        """Read until the container's event of this kind; return its starts, ends and removals."""
        seen = []
        with anyio.fail_after(self.patience):
            async for event in events:
                if event.container_id == container_id and event.kind in LANDMARKS:
                    seen.append(event.kind)
                    if event.kind is kind:
                        return seen
        raise AssertionError(f"the events ended before {kind}: {seen}")

    async def test_a_life_is_told_in_order(self, backend: ContainerBackend) -> None:
        async with backend.watch() as events:
            made = await self.running(backend, self.runs("a"))
            await backend.stop(made, self.patience)
            await backend.start(made)
            await backend.stop(made, self.patience)
            await backend.remove(made)
            seen = await self.upto(events, REMOVED, made)
        assert seen == [STARTED, DIED, STARTED, DIED, REMOVED]

    async def test_removing_what_runs_tells_its_end_first(self, backend: ContainerBackend) -> None:
        async with backend.watch() as events:
            made = await self.running(backend, self.runs("a"))
            await backend.remove(made)
            assert await self.upto(events, REMOVED, made) == [STARTED, DIED, REMOVED]

    async def test_a_start_of_what_runs_is_not_told(self, backend: ContainerBackend) -> None:
        async with backend.watch() as events:
            made = await self.running(backend, self.runs("a"))
            await backend.start(made)
            await backend.stop(made, self.patience)
            assert await self.upto(events, DIED, made) == [STARTED, DIED]

    async def test_an_end_is_told_promptly_and_inspect_knows_it(
        self, backend: ContainerBackend
    ) -> None:
        async with backend.watch() as events:
            made = await self.started(backend, self.exits("a", 3, after=0.2))
            await self.upto(events, DIED, made)
            told = time.time()
            seen = await self.ended(backend, made)
            assert seen.exit_code == 3
            assert seen.finished_at is not None
            assert told - seen.finished_at.timestamp() < 2.0

    async def test_nothing_is_missed_from_the_moment_of_entering(
        self, backend: ContainerBackend
    ) -> None:
        made = [(await backend.create(self.exits(f"n{n}", 0))).id for n in range(4)]
        async with backend.watch() as events:
            async with anyio.create_task_group() as tasks:
                for container_id in made:
                    tasks.start_soon(backend.start, container_id)
            left = {(kind, container_id) for kind in (STARTED, DIED) for container_id in made}
            with anyio.fail_after(self.patience):
                while left:
                    event = await anext(events)
                    left.discard((event.kind, event.container_id))

    async def test_events_carry_the_wall_clocks_time(self, backend: ContainerBackend) -> None:
        async with backend.watch() as events:
            made = await self.started(backend, self.exits("a", 0))
            with anyio.fail_after(self.patience):
                event = await anext(events)
                while event.container_id != made:
                    event = await anext(events)
        assert abs(event.at - time.time()) < 60

    async def test_two_watchers_see_the_same(self, backend: ContainerBackend) -> None:
        async with backend.watch() as one, backend.watch() as two:
            made = await self.started(backend, self.exits("a", 0))
            await self.ended(backend, made)
            assert await self.upto(one, DIED, made) == await self.upto(two, DIED, made)

    async def test_leaving_while_waiting_is_clean_and_watching_again_works(
        self, backend: ContainerBackend
    ) -> None:
        for _ in range(3):
            with anyio.move_on_after(0.1) as scope:
                async with backend.watch() as events:
                    while True:
                        await anext(events)
            assert scope.cancelled_caught
        async with backend.watch() as events:
            made = await self.started(backend, self.exits("a", 0))
            assert await self.upto(events, DIED, made) == [STARTED, DIED]

    async def test_an_error_of_the_watcher_comes_out_as_it_is(
        self, backend: ContainerBackend
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            async with backend.watch():
                raise ZeroDivisionError
