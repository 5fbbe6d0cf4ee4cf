"""Fairness: who talks without pause gives way, and only to those who are there."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel
import pytest

from flow_manager_core.bus import COURTESY, NEAR, EventBus, Subscription
from flow_manager_core.events import SocketConnected
from flow_manager_core.fairness import REST, SLICE, Fairness, Share
from flow_manager_core.throttle import TOLD_PER_SECOND, Pace, Throttle

pytestmark = pytest.mark.anyio


def work(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def turns_while(share: Share, seconds: float) -> int:
    """Spend time without a pause; return how many turns another task got meanwhile."""
    turns = 0
    async with anyio.create_task_group() as group:

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        group.start_soon(other)
        await anyio.lowlevel.checkpoint()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            work(SLICE / 10)
            await share.spend()
        group.cancel_scope.cancel()
    return turns


async def test_a_channel_that_talks_without_pause_lets_others_go_on_after_each_slice() -> None:
    share = Share(Fairness())
    assert await turns_while(share, 20 * SLICE) >= 5
    assert share.busy


async def test_a_channel_with_little_to_say_never_gives_way() -> None:
    async def unwanted() -> None:
        raise AssertionError("it gave way")

    share = Share(Fairness(unwanted))
    for _ in range(20):
        share.listening()
        await anyio.sleep(SLICE)
        share.heard()
        await share.spend()
    assert not share.busy


async def test_silence_makes_good_for_having_talked() -> None:
    share = Share(Fairness())
    work(2 * SLICE)
    await share.spend()
    assert share.busy
    share.listening()
    await anyio.sleep(SLICE)
    share.heard()
    assert not share.busy


async def test_a_busy_channel_rests_while_somebody_else_talks_and_only_then() -> None:
    kept_up = 0

    async def keep_up() -> None:
        nonlocal kept_up
        kept_up += 1

    fairness = Fairness(keep_up)
    quiet, busy = Share(fairness), Share(fairness)
    work(2 * SLICE)
    await busy.spend()
    busy.others_notice()
    rests = [await rest(fairness) for _ in range(5)]
    quiet.others_notice()
    begun = time.monotonic()
    await fairness.give_way()
    assert time.monotonic() - begun >= REST * 0.9
    assert min(rests) < REST / 2
    assert kept_up == 7


async def rest(fairness: Fairness) -> float:
    begun = time.monotonic()
    await fairness.give_way()
    return time.monotonic() - begun


async def test_busy_channels_take_turns_in_the_order_in_which_they_came() -> None:
    order: list[int] = []
    fairness = Fairness()

    async def busy(number: int) -> None:
        for _ in range(3):
            await fairness.give_way()
            order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(busy, number)
    rounds = [sorted(order[start : start + 4]) for start in (0, 4, 8)]
    assert rounds == [[0, 1, 2, 3]] * 3


def event(number: int) -> SocketConnected:
    return SocketConnected(container_id=str(number), reconnected=False)


async def test_a_busy_channel_waits_until_subscribers_have_nearly_kept_up() -> None:
    bus = EventBus()
    with bus.subscribe() as subscription:
        bus.publish(*[event(number) for number in range(10 * NEAR)])

        async def read(subscription: Subscription) -> None:
            while subscription.waiting > NEAR:
                await anext(subscription)

        async with anyio.create_task_group() as group:
            group.start_soon(read, subscription)
            await bus.keep_up()
            assert subscription.waiting <= NEAR


async def test_a_subscriber_that_is_busy_itself_holds_no_channel_for_long() -> None:
    bus = EventBus()
    with bus.subscribe(), anyio.fail_after(5):
        bus.publish(*[event(number) for number in range(10 * NEAR)])
        begun = time.monotonic()
        await bus.keep_up()
        assert time.monotonic() - begun >= COURTESY * 0.9


async def test_what_is_not_told_one_by_one_is_told_as_a_number() -> None:
    throttle, told = Throttle(), []
    allowed = [throttle.allow() for _ in range(5 * TOLD_PER_SECOND)]
    async with anyio.create_task_group() as group:
        group.start_soon(throttle.run, told.append)
        with anyio.fail_after(5):
            while not told:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert told == [allowed.count(False)]
    throttle.settle(told.append)
    assert len(told) == 1


async def test_what_comes_all_the_time_is_let_in_at_a_pace() -> None:
    pace = Pace(0.25, 3)
    begun = anyio.current_time()
    for _ in range(3):
        await pace.turn()
    at_once = anyio.current_time() - begun
    await pace.turn()
    assert anyio.current_time() - begun >= 0.24
    assert at_once < 0.24
