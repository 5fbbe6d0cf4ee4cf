"""Cases: a container's output as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import anyio
import pytest

from flow_manager_core.contracts import ContainerBackend, LogStreamer
from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.models import LogLine
from flow_manager_core.testing.backend_cases.programs import BackendPrograms

NOBODY = "0" * 64


class FollowingCases(BackendPrograms):
    """`LogStreamer`."""

    async def test_output_is_handed_over_as_it_comes_until_the_run_ends(
        self, backend: ContainerBackend
    ) -> None:
        streamer = _streamer(backend)
        made = await self.started(backend, self.runs("a"))
        told: list[LogLine] = []
        over = anyio.Event()

        async def take(lines: Sequence[LogLine]) -> None:
            told.extend(lines)

        async def follow() -> None:
            await streamer.follow_logs(made, datetime.fromtimestamp(0).astimezone(), take)
            over.set()

        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            with anyio.fail_after(self.patience):
                while not told:
                    await anyio.sleep(0.01)
            assert not over.is_set()
            await backend.stop(made, self.patience)
            with anyio.fail_after(self.patience):
                await over.wait()
        assert [line.line for line in told] == ["ready"]

    async def test_a_reader_that_waits_holds_the_output_back_and_gets_all_of_it(
        self, backend: ContainerBackend
    ) -> None:
        streamer = _streamer(backend)
        words = [("stdout", f"line {number}") for number in range(500)]
        made = await self.started(backend, self.prints("a", words))  # type: ignore[arg-type]
        told: list[str] = []

        async def take(lines: Sequence[LogLine]) -> None:
            await anyio.sleep(0.01)
            told.extend(line.line for line in lines)

        with anyio.fail_after(self.patience):
            await streamer.follow_logs(made, datetime.fromtimestamp(0).astimezone(), take)
        assert told == [text for _, text in words]

    async def test_a_following_can_be_given_up_at_any_time(self, backend: ContainerBackend) -> None:
        streamer = _streamer(backend)
        made = await self.running(backend, self.runs("a"))
        with anyio.fail_after(self.patience), anyio.move_on_after(0.3) as scope:
            await streamer.follow_logs(made, None, _nothing)
        assert scope.cancelled_caught

    async def test_there_is_nothing_to_follow_without_a_container(
        self, backend: ContainerBackend
    ) -> None:
        with pytest.raises(ContainerNotFound):
            await _streamer(backend).follow_logs(NOBODY, None, _nothing)


async def _nothing(lines: Sequence[LogLine]) -> None:
    raise AssertionError(f"nothing was to be told: {lines}")


def _streamer(backend: ContainerBackend) -> LogStreamer:
    if not isinstance(backend, LogStreamer):
        pytest.skip("this backend follows no output")
    return backend
