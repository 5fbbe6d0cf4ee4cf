"""One client's requests on one container go in the order they were sent."""

from __future__ import annotations

import anyio
import pytest

from flow_manager_core.turns import Turns

pytestmark = pytest.mark.anyio


async def test_turns_of_one_key_go_in_order_and_other_keys_do_not_wait() -> None:
    turns, order = Turns(), []
    first_may_end = anyio.Event()

    async def work(key: str, name: str, wait: anyio.Event | None = None) -> None:
        with await turns.turn(key):
            if wait:
                await wait.wait()
            order.append(name)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(work, "a", "a1", first_may_end)
            await anyio.wait_all_tasks_blocked()
            for name in ("a2", "a3"):
                group.start_soon(work, "a", name)
                await anyio.wait_all_tasks_blocked()
            group.start_soon(work, "b", "b1")
            await anyio.wait_all_tasks_blocked()
            assert order == ["b1"]
            first_may_end.set()
    assert order == ["b1", "a1", "a2", "a3"]


async def test_a_turn_can_be_left_early() -> None:
    turns = Turns()
    with anyio.fail_after(5):
        with await turns.turn("a") as turn:
            turn.release()
            with await turns.turn("a"):
                pass


async def test_nothing_is_kept_of_turns_that_are_over_or_were_cancelled() -> None:
    turns = Turns()

    async def wait_in_vain() -> None:
        with await turns.turn("a"):
            raise AssertionError("the key is taken")

    with await turns.turn("a"):
        async with anyio.create_task_group() as group:
            group.start_soon(wait_in_vain)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
    assert not turns._waiting
