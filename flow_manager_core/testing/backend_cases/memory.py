"""Cases: what the engine still knows of the past, and which life of it this is."""

from __future__ import annotations

import pytest

from flow_manager_core.contracts import ContainerBackend, EventMemory
from flow_manager_core.models import EngineEvent, EngineEventKind
from flow_manager_core.testing.backend_cases.watching import WatchCases

SIGTERM = 15


class MemoryCases(WatchCases):
    """`EventMemory`, and the life that `ContainerBackend.ping` tells."""

    @pytest.fixture
    async def event_memory(self, _core: None) -> None:
        """For cases of `EventMemory`."""
        async with self.open(self.core) as backend:
            able = isinstance(backend, EventMemory)
        if not able:
            pytest.skip("this backend's engine remembers nothing")

    async def recalled(self, backend: ContainerBackend, container_id: str) -> list[EngineEvent]:
        """What is remembered of a container."""
        assert isinstance(backend, EventMemory)
        return [e for e in await backend.recall() if e.container_id == container_id]

    async def test_the_engines_life_is_the_same_from_ping_to_ping(
        self, backend: ContainerBackend
    ) -> None:
        first = await backend.ping()
        made = await self.running(backend, self.runs("a"))
        await backend.stop(made, self.patience)
        second = await backend.ping()
        assert (first.life, first.since) == (second.life, second.since)
        assert first.keeps_flows is second.keeps_flows

    @pytest.mark.usefixtures("lives")
    async def test_the_engines_life_is_the_same_for_every_life_of_the_backend(self) -> None:
        told = []
        for _ in range(2):
            async with self.open(self.core) as backend:
                told.append(await backend.ping())
        assert told[0].life == told[1].life

    @pytest.mark.usefixtures("event_memory")
    async def test_a_stop_is_remembered_with_its_signal(self, backend: ContainerBackend) -> None:
        made = await self.running(backend, self.runs("a"))
        await backend.stop(made, self.patience)
        told = [(e.kind, e.signal) for e in await self.recalled(backend, made)]
        kinds = EngineEventKind
        assert told == [
            (kinds.STARTED, None),
            (kinds.SIGNALLED, SIGTERM),
            (kinds.DIED, None),
            (kinds.STOPPED, None),
        ]

    @pytest.mark.usefixtures("event_memory")
    async def test_an_end_that_nobody_asked_for_is_remembered_without_a_signal(
        self, backend: ContainerBackend
    ) -> None:
        made = await self.started(backend, self.exits("a", 3))
        await self.ended(backend, made)

        async def remembered() -> list[EngineEvent] | None:
            found = await self.recalled(backend, made)
            return found if any(e.kind is EngineEventKind.DIED for e in found) else None

        kinds = [e.kind for e in await self.until(remembered)]
        assert kinds == [EngineEventKind.STARTED, EngineEventKind.DIED]

    @pytest.mark.usefixtures("event_memory", "lives")
    async def test_what_happened_in_another_life_of_the_backend_is_remembered(self) -> None:
        async with self.open(self.core) as first:
            made = await self.running(first, self.runs("a"))
            await first.stop(made, self.patience)
            before = await self.recalled(first, made)
        async with self.open(self.core) as second:
            assert await self.recalled(second, made) == before

    @pytest.mark.usefixtures("event_memory")
    async def test_what_is_remembered_is_what_was_told(self, backend: ContainerBackend) -> None:
        async with backend.watch() as events:
            made = await self.running(backend, self.runs("a"))
            await backend.stop(made, self.patience)
            await backend.remove(made)
            told: list[EngineEvent] = []
            while not told or told[-1].kind is not EngineEventKind.REMOVED:
                told.append(await anext(events))
            assert await self.recalled(backend, made) == told
