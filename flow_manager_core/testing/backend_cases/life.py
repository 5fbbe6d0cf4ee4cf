"""Cases: a container's life, from create to remove."""

from __future__ import annotations

import time
from datetime import timedelta

import anyio
import pytest

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.errors import ContainerNotFound, EngineError, ImageNotFound
from flow_manager_core.events import now
from flow_manager_core.models import ContainerState
from flow_manager_core.testing.backend_cases.programs import BackendPrograms

ABSENT = "f" * 64
HOUR = timedelta(hours=1)


class LifeCases(BackendPrograms):
    """Create, start, stop, remove, and what `inspect` and `list` say in between."""

    async def test_the_engine_names_itself(self, backend: ContainerBackend) -> None:
        info = await backend.ping()
        assert info.name
        assert info.version

    async def test_a_created_container_does_not_run(self, backend: ContainerBackend) -> None:
        made = await backend.create(self.runs("a"))
        assert made.state is ContainerState.CREATED
        assert made.started_at is None
        assert made.finished_at is None
        assert made.exit_code is None
        assert abs(now() - made.created) < HOUR

    async def test_a_container_keeps_name_image_and_labels_word_for_word(
        self, backend: ContainerBackend
    ) -> None:
        awkward = {"plain": "1", "empty": "", "text": 'ü "quoted" {json: [1]} = a,b\\n'}
        plan = self.plan("a", labels=awkward)
        seen = await backend.inspect((await backend.create(plan)).id)
        assert seen.name == plan.spec.name
        assert seen.image == plan.spec.image
        assert plan.labels.items() <= seen.labels.items()

    async def test_create_inspect_and_list_agree(self, backend: ContainerBackend) -> None:
        made = await backend.create(self.runs("a"))
        assert await backend.inspect(made.id) == made
        assert [(c.id, c.name, c.state) for c in await backend.list()] == [
            (made.id, made.name, made.state)
        ]

    async def test_a_name_in_use_is_refused(self, backend: ContainerBackend) -> None:
        await backend.create(self.runs("a"))
        with pytest.raises(EngineError):
            await backend.create(self.runs("a"))
        assert len(await backend.list()) == 1

    async def test_a_name_is_free_again_after_remove(self, backend: ContainerBackend) -> None:
        first = await backend.create(self.runs("a"))
        await backend.remove(first.id)
        second = await backend.create(self.runs("a"))
        assert second.id != first.id

    async def test_two_creates_of_one_name_at_once_make_one(
        self, backend: ContainerBackend
    ) -> None:
        outcomes: list[str] = []

        async def create() -> None:
            try:
                await backend.create(self.runs("a"))
                outcomes.append("made")
            except EngineError:
                outcomes.append("refused")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(create)
            tasks.start_soon(create)
        assert sorted(outcomes) == ["made", "refused"]
        assert len(await backend.list()) == 1

    async def test_a_missing_image_is_named_and_leaves_nothing(
        self, backend: ContainerBackend
    ) -> None:
        with pytest.raises(ImageNotFound):
            await backend.create(self.plan("a", image=self.absent_image))
        assert not await backend.list()

    @pytest.mark.parametrize("method", ["start", "stop", "remove", "inspect", "logs"])
    async def test_a_missing_container_is_named(
        self, backend: ContainerBackend, method: str
    ) -> None:
        with pytest.raises(ContainerNotFound):
            await self._call(backend, method, ABSENT)

    @pytest.mark.parametrize("method", ["start", "stop", "remove", "inspect", "logs"])
    async def test_a_removed_container_is_gone(
        self, backend: ContainerBackend, method: str
    ) -> None:
        gone = await self.running(backend, self.runs("a"))
        await backend.remove(gone)
        assert not await backend.list()
        with pytest.raises(ContainerNotFound):
            await self._call(backend, method, gone)

    async def _call(self, backend: ContainerBackend, method: str, container_id: str) -> None:
        if method == "logs":
            await backend.logs(container_id, tail=None, since=None)
        elif method == "stop":
            await backend.stop(container_id, 1.0)
        else:
            await getattr(backend, method)(container_id)

    async def test_a_started_container_runs(self, backend: ContainerBackend) -> None:
        made = await self.running(backend, self.runs("a"))
        seen = await backend.inspect(made)
        assert seen.state is ContainerState.RUNNING
        assert seen.started_at is not None
        assert abs(now() - seen.started_at) < HOUR
        assert seen.exit_code is None
        assert [c.state for c in await backend.list()] == [ContainerState.RUNNING]

    async def test_starting_what_runs_changes_nothing(self, backend: ContainerBackend) -> None:
        made = await self.running(backend, self.runs("a"))
        before = await backend.inspect(made)
        await backend.start(made)
        assert await backend.inspect(made) == before

    async def test_a_failed_start_leaves_the_container_created(
        self, backend: ContainerBackend
    ) -> None:
        made = await backend.create(self.cannot_start("a"))
        with pytest.raises(EngineError):
            await backend.start(made.id)
        seen = await backend.inspect(made.id)
        assert seen.state is ContainerState.CREATED
        assert seen.error

    @pytest.mark.parametrize("code", [0, 3])
    async def test_a_run_ends_with_its_exit_code(
        self, backend: ContainerBackend, code: int
    ) -> None:
        # An engine may note a start some time after the program began.
        seen = await self.ended(
            backend, await self.started(backend, self.exits("a", code, after=0.3))
        )
        assert (seen.state, seen.exit_code) == (ContainerState.EXITED, code)
        assert seen.started_at is not None
        assert seen.finished_at is not None
        assert timedelta(seconds=0.1) <= seen.finished_at - seen.started_at < HOUR

    @pytest.mark.parametrize("signal", [9, 10])
    async def test_a_death_by_signal_is_told_as_128_and_its_number(
        self, backend: ContainerBackend, signal: int
    ) -> None:
        made = await self.started(backend, self.dies("a", signal))
        assert (await self.ended(backend, made)).exit_code == 128 + signal

    async def test_stop_asks_first_and_returns_once_ended(self, backend: ContainerBackend) -> None:
        made = await self.running(backend, self.runs("a", stop_code=5))
        await backend.stop(made, self.patience)
        seen = await backend.inspect(made)
        assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 5)

    async def test_stop_kills_what_does_not_listen_after_the_timeout(
        self, backend: ContainerBackend
    ) -> None:
        made = await self.running(backend, self.stubborn("a"))
        began = time.monotonic()
        await backend.stop(made, 1.0)
        assert time.monotonic() - began >= 0.9
        seen = await backend.inspect(made)
        assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 137)

    async def test_stop_does_nothing_to_what_does_not_run(self, backend: ContainerBackend) -> None:
        made = await backend.create(self.exits("a", 3))
        await backend.stop(made.id, 1.0)
        assert (await backend.inspect(made.id)).state is ContainerState.CREATED
        await backend.start(made.id)
        before = await self.ended(backend, made.id)
        await backend.stop(made.id, 1.0)
        assert await backend.inspect(made.id) == before

    async def test_a_second_run_has_a_start_of_its_own(self, backend: ContainerBackend) -> None:
        made = await self.running(backend, self.runs("a", stop_code=5))
        first = await backend.inspect(made)
        await backend.stop(made, self.patience)
        await backend.start(made)
        second = await backend.inspect(made)
        assert second.state is ContainerState.RUNNING
        assert second.exit_code is None
        assert first.started_at is not None
        assert second.started_at is not None
        assert second.started_at > first.started_at

    async def test_many_containers_live_side_by_side(self, backend: ContainerBackend) -> None:
        async def live(number: int) -> None:
            made = await self.running(backend, self.runs(f"n{number}", stop_code=number))
            await backend.stop(made, self.patience)
            assert (await backend.inspect(made)).exit_code == number
            await backend.remove(made)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(live, number)
        assert not await backend.list()

    async def test_the_environment_reaches_the_program_and_the_channels_wins(
        self, backend: ContainerBackend
    ) -> None:
        plan = self.tells(
            "a",
            "MINE",
            "FLOW_SOCKET",
            "NEVER_SET",
            environment={"MINE": "a b=ü", "FLOW_SOCKET": "forged"},
            attachment={"FLOW_SOCKET": "true"},
        )
        made = await self.started(backend, plan)
        assert await self.output(backend, made) == ["a b=ü", "true", "None"]

    async def test_a_cancelled_stop_leaves_the_backend_usable(
        self, backend: ContainerBackend
    ) -> None:
        made = await self.running(backend, self.stubborn("a"))
        with anyio.move_on_after(0.3) as scope:
            await backend.stop(made, 60.0)
        assert scope.cancelled_caught
        assert (await backend.inspect(made)).state is ContainerState.RUNNING
        await backend.stop(made, 0.0)
        assert (await backend.inspect(made)).exit_code == 137

    @pytest.mark.parametrize("grace", [0.0, 0.005])
    async def test_a_cancelled_create_or_start_leaves_the_backend_usable(
        self, backend: ContainerBackend, grace: float
    ) -> None:
        with anyio.move_on_after(grace):
            await backend.create(self.runs("a"))
        made = await backend.create(self.runs("b"))
        with anyio.move_on_after(grace):
            await backend.start(made.id)
        await backend.start(made.id)
        assert (await backend.inspect(made.id)).state is ContainerState.RUNNING
        await backend.remove(made.id)
