"""What is entered in a shelter goes on until it is left, whoever is cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from flow_manager_core.shelter import Shelter, sheltered

pytestmark = pytest.mark.anyio


class Part:
    """Answers in a task of its own; notes what becomes of it."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._asked, self._answered = anyio.Event(), anyio.Event()

    @asynccontextmanager
    async def living(self) -> AsyncIterator[Part]:
        async with anyio.create_task_group() as group:
            group.start_soon(self._answer)
            yield self
            await anyio.lowlevel.checkpoint()
            self.notes.append("left")
            group.cancel_scope.cancel()

    async def _answer(self) -> None:
        await self._asked.wait()
        await anyio.lowlevel.checkpoint()
        self._answered.set()

    async def ask(self) -> None:
        """Wait for its answer, whoever is cancelled."""
        with anyio.CancelScope(shield=True), anyio.fail_after(5):
            self._asked.set()
            await self._answered.wait()
        self.notes.append("answered")


async def test_who_is_shielded_from_a_cancellation_still_has_its_answer() -> None:
    with anyio.CancelScope() as scope:
        async with Shelter(Part().living()) as part:
            scope.cancel()
            await part.ask()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert part.notes == ["answered", "left"]


async def test_parts_are_left_one_after_the_other_and_the_first_is_there_for_the_last() -> None:
    first, notes = Part(), []

    @asynccontextmanager
    async def last() -> AsyncIterator[None]:
        yield
        await first.ask()
        notes.append(list(first.notes))

    with anyio.CancelScope() as scope:
        async with AsyncExitStack() as stack:
            await sheltered(stack, first.living())
            await sheltered(stack, last())
            scope.cancel()
    assert notes == [["answered"]]
    assert first.notes == ["answered", "left"]


@pytest.mark.parametrize(
    "error", [ValueError("mine"), SystemExit(3), ExceptionGroup("", [OSError()])]
)
@pytest.mark.parametrize("when", ["entering", "leaving"])
async def test_what_entering_or_leaving_raises_comes_out_as_it_is(
    error: BaseException, when: str
) -> None:
    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        if when == "entering":
            raise error
        yield
        raise error

    entered = False
    with pytest.raises(type(error)) as caught:
        async with Shelter(failing()):
            entered = True
    assert caught.value is error
    assert entered is (when == "leaving")


async def test_the_blocks_own_exception_comes_out_as_it_is_and_is_kept_from_the_context() -> None:
    mine = ValueError("mine")
    part = Part()
    with pytest.raises(ValueError, match="mine") as caught:
        async with Shelter(part.living()):
            raise mine
    assert caught.value is mine
    assert part.notes == ["left"]


async def test_a_context_that_fails_meanwhile_cancels_the_block_and_says_why() -> None:
    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("broken")

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with Shelter(failing()):
            await anyio.sleep_forever()
    assert caught.value.split(ValueError)[1] is None


async def test_a_cancellation_ends_what_is_still_being_entered() -> None:
    ended = anyio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        try:
            scope.cancel()
            await anyio.sleep_forever()
        finally:
            ended.set()
        yield

    with anyio.CancelScope() as scope:
        async with Shelter(slow()):
            raise AssertionError("entered")
    assert scope.cancelled_caught
    assert ended.is_set()
