"""The event bus: order, bounds, and what happens to those who do not read."""

from __future__ import annotations

import anyio
import pytest

from flow_manager_core.bus import EventBus, EventsLost, Subscription
from flow_manager_core.events import PassingActivity, SocketConnected, SocketDisconnected

pytestmark = pytest.mark.anyio


def event(number: int) -> SocketConnected:
    return SocketConnected(container_id=str(number), reconnected=False)


def ended(number: int) -> SocketDisconnected:
    return SocketDisconnected(container_id=str(number), reason="")


async def test_every_subscriber_gets_every_event_in_order() -> None:
    bus = EventBus()
    with bus.subscribe() as one, bus.subscribe() as two:
        bus.publish(*[event(n) for n in range(100)])
        bus.close()
        for subscription in (one, two):
            assert [e.container_id async for e in subscription] == [str(n) for n in range(100)]


async def test_a_reader_that_is_too_slow_is_told_and_the_others_go_on() -> None:
    bus = EventBus(limit=10)
    with bus.subscribe() as slow, bus.subscribe() as quick:
        for number in range(50):
            bus.publish(event(number))
            assert (await anext(quick)).container_id == str(number)
        with pytest.raises(EventsLost):
            await anext(slow)


async def test_a_waiting_reader_is_woken() -> None:
    bus = EventBus()
    with bus.subscribe() as subscription, anyio.fail_after(5):
        async with anyio.create_task_group() as group:

            async def read() -> None:
                assert (await anext(subscription)).container_id == "1"

            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            bus.publish(event(1))


async def test_flows_are_held_back_until_a_crowded_subscriber_has_read() -> None:
    bus = EventBus()
    with bus.subscribe() as subscription, anyio.fail_after(5):
        bus.publish(*[event(n) for n in range(3000)])
        assert bus.crowded
        async with anyio.create_task_group() as group:
            group.start_soon(bus.relief)
            await anyio.wait_all_tasks_blocked()
            for _ in range(2000):
                await anext(subscription)
        assert not bus.crowded


async def test_subscribers_are_counted() -> None:
    bus = EventBus()
    assert not bus.wanted(SocketConnected)
    with bus.subscribe():
        assert bus.wanted(SocketConnected)
    assert not bus.wanted(SocketConnected)


async def test_a_subscriber_gets_what_it_wants_and_may_change_its_mind() -> None:
    bus = EventBus()
    with bus.subscribe() as choosy, bus.subscribe() as other:
        choosy.wants = lambda kind: kind is SocketDisconnected
        bus.publish(event(1), ended(1))
        choosy.wants = None
        bus.publish(event(2), ended(2))
        bus.close()
        assert [type(e) async for e in choosy] == [
            SocketDisconnected,
            SocketConnected,
            SocketDisconnected,
        ]
        assert len([e async for e in other]) == 4


async def test_who_changes_its_mind_while_it_is_behind_misses_nothing_from_there_on() -> None:
    bus = EventBus()
    line = PassingActivity(container_id="", activity_type="x", message="", details={})
    with bus.subscribe() as choosy:
        choosy.wants = lambda kind: kind is SocketDisconnected
        bus.publish(event(1))
        assert choosy.caught_up
        bus.publish(ended(2), event(3), ended(4), event(5), line)
        assert [(await anext(choosy)).container_id for _ in "12"] == ["2", "4"]
        choosy.wants = None
        bus.close()
        assert [e.container_id async for e in choosy] == ["5"]


async def test_what_no_subscriber_wants_is_not_wanted() -> None:
    bus = EventBus()
    with bus.subscribe() as one:
        one.wants = lambda kind: kind is SocketDisconnected
        assert bus.wanted(SocketDisconnected)
        assert not bus.wanted(SocketConnected)
        with bus.subscribe():
            assert bus.wanted(SocketConnected)


async def test_all_flows_that_were_held_back_go_on_together() -> None:
    bus = EventBus()
    with bus.subscribe() as subscription, anyio.fail_after(2):
        bus.publish(*[event(n) for n in range(3000)])
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(bus.relief)
            await anyio.wait_all_tasks_blocked()
            for _ in range(1000):
                await anext(subscription)


async def test_who_stays_far_behind_is_cut_off_and_holds_nobody_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flow_manager_core.bus.PATIENCE", 0.05)
    bus = EventBus()
    with bus.subscribe() as subscription, anyio.fail_after(5):
        bus.publish(*[event(n) for n in range(3000)])
        await bus.relief()
        assert not bus.crowded
        with pytest.raises(EventsLost):
            await anext(subscription)


async def test_delivered_means_that_every_subscriber_has_dealt_with_all() -> None:
    bus, dealt_with = EventBus(), []

    async def follow(subscription: Subscription) -> None:
        async for told in subscription:
            await anyio.sleep(0.01)
            dealt_with.append(told)

    with bus.subscribe() as idle, bus.subscribe() as busy, anyio.fail_after(5):
        await bus.delivered(5)
        async with anyio.create_task_group() as group:
            group.start_soon(follow, busy)
            group.start_soon(follow, idle)
            bus.publish(event(1), event(2))
            await bus.delivered(5)
            assert len(dealt_with) == 4
            bus.close()


async def test_a_subscriber_that_deals_with_nothing_is_not_waited_for_long() -> None:
    bus = EventBus()
    with bus.subscribe(), anyio.fail_after(5):
        bus.publish(event(1))
        await bus.delivered(0.05)
