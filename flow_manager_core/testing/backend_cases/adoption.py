"""Cases: a backend goes and another one of the same instance comes."""

from __future__ import annotations

import anyio
import pytest
from attrs import evolve

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.models import ContainerState, CreatePlan, EngineEventKind
from flow_manager_core.terms import INSTANCE
from flow_manager_core.testing.backend_cases.watching import WatchCases


@pytest.mark.usefixtures("lives")
class AdoptionCases(WatchCases):
    """What a new life of the manager finds, and what it must not see."""

    async def test_containers_outlive_the_backend_untouched(self) -> None:
        async with self.open(self.core) as first:
            idle = await first.create(self.runs("idle"))
            made = await self.running(first, self.runs("a"))
            before = await first.inspect(made)
        async with self.open(self.core) as second:
            assert await second.inspect(made) == before
            assert await second.inspect(idle.id) == idle
            assert {c.id for c in await second.list()} == {made, idle.id}

    async def test_what_ended_meanwhile_is_known_with_its_exit_code(self) -> None:
        async with self.open(self.core) as first:
            made = await self.started(first, self.exits("a", 3, after=0.3))
        await anyio.sleep(0.6)
        async with self.open(self.core) as second:
            seen = await self.ended(second, made)
        assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 3)
        assert seen.started_at is not None
        assert seen.finished_at is not None
        assert seen.started_at < seen.finished_at

    async def test_an_adopted_run_that_ends_is_told(self) -> None:
        async with self.open(self.core) as first:
            made = await self.running(first, self.runs("a", stop_code=4))
        async with self.open(self.core) as second, second.watch() as events:
            await second.stop(made, self.patience)
            assert await self.upto(events, EngineEventKind.DIED, made) == [EngineEventKind.DIED]
            assert (await second.inspect(made)).exit_code == 4

    async def test_an_adopted_container_can_be_run_again_and_removed(self) -> None:
        async with self.open(self.core) as first:
            made = await self.running(first, self.runs("a"))
        async with self.open(self.core) as second:
            await second.stop(made, self.patience)
            await second.start(made)
            assert (await second.inspect(made)).state is ContainerState.RUNNING
            await second.remove(made)
        async with self.open(self.core) as third:
            assert not await third.list()

    async def test_output_outlives_the_backend(self) -> None:
        async with self.open(self.core) as first:
            made = await self.running(first, self.runs("a"))
            before = await first.logs(made, tail=None, since=None)
        async with self.open(self.core) as second:
            assert list(await second.logs(made, tail=None, since=None)) == list(before)

    async def test_another_instance_sees_and_touches_nothing(self) -> None:
        other = evolve(self.core, instance=f"{self.core.instance}-other")
        async with self.open(self.core) as ours, self.open(other) as theirs:
            made = await self.running(ours, self.runs("a"))
            assert not await theirs.list()
            for attempt in (theirs.inspect, theirs.start, theirs.remove):
                with pytest.raises(ContainerNotFound):
                    await attempt(made)
            with pytest.raises(ContainerNotFound):
                await theirs.stop(made, 1.0)
            assert (await ours.inspect(made)).state is ContainerState.RUNNING

    async def test_another_instances_events_are_not_told(self) -> None:
        other = evolve(self.core, instance=f"{self.core.instance}-other")
        async with (
            self.open(self.core) as ours,
            self.open(other) as theirs,
            theirs.watch() as events,
        ):
            foreign = await self.started(ours, self.exits("a", 0))
            await self.ended(ours, foreign)
            plan = self.exits("other", 0)
            labels = {**plan.labels, INSTANCE: other.instance}
            own = await self._live(theirs, evolve(plan, labels=labels))
            with anyio.fail_after(self.patience):
                assert (await anext(events)).container_id == own

    async def _live(self, backend: ContainerBackend, plan: CreatePlan) -> str:
        made = await self.started(backend, plan)
        await self.ended(backend, made)
        await backend.remove(made)
        return made
