"""Cases: events carry their numbers, and a client that can choose gets what it chose and missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from flow_manager_core.testing.frontend_cases.clients import (
    FrontendClient,
    FrontendClients,
    Listener,
)
from flow_manager_core.testing.frontend_cases.house import House


class StreamCases(FrontendClients):
    """The log of events, as clients see it. Where all clients hear the same, they are told so."""

    async def test_each_event_of_the_log_carries_its_number(self) -> None:
        async with self.house() as house, self._hearing(house) as (_, listener):
            first = house.manager.position
            await house.create("one", "run")
            await house.manager.execute("delete_container", {"container_id": "one"})
            last = house.manager.position
            wanted = list(range(first.seq + 1, last.seq + 1))
            await self.until(lambda: _numbers(listener)[-1:] == [last.seq])
            assert _numbers(listener)[-len(wanted) :] == wanted
            assert {b["epoch"] for _, b in listener.heard if b.get("seq")} == {last.epoch}

    async def test_a_client_that_comes_back_gets_what_it_missed_and_then_what_comes(self) -> None:
        async with self.house() as house:
            since = house.manager.position
            await house.create("one", "run")
            async with self._hearing(house) as (client, listener):
                if not await self._subscribes(client, since=_body(since)):
                    return
                await house.manager.execute("delete_container", {"container_id": "one"})
                last = house.manager.position.seq
                await self.until(lambda: _numbers(listener)[-1:] == [last])
                # Until it asked, it heard what came, as any client does.
                numbers = _numbers(listener)
                begun = numbers.index(since.seq + 1)
                assert numbers[begun:] == list(range(since.seq + 1, last + 1))
                assert not listener.bodies("gap")

    async def test_what_cannot_be_given_is_a_gap_and_then_how_containers_are(self) -> None:
        async with self.house() as house, self._hearing(house) as (client, listener):
            await house.create("one", "run")
            stale = {"epoch": "another", "seq": 3}
            if not await self._subscribes(client, since=stale):
                return
            await self.until(lambda: listener.bodies("snapshot"))
            [gap], [snapshot] = listener.bodies("gap"), listener.bodies("snapshot")
            assert (gap["from"], gap["reason"]) == (1, "epoch")
            assert (gap["epoch"], gap["to"]) == (snapshot["epoch"], snapshot["seq"])
            assert [(c["name"], c["state"]) for c in snapshot["containers"]] == [("one", "running")]
            assert snapshot["complete"] is True
            await house.manager.execute("delete_container", {"container_id": "one"})
            last = house.manager.position.seq
            await self.until(lambda: _numbers(listener)[-1:] == [last])
            after = [n for n in _numbers(listener) if n > snapshot["seq"]]
            assert after == list(range(snapshot["seq"] + 1, last + 1))

    async def test_a_client_hears_what_it_chose_and_no_more_once_it_wants_no_more(self) -> None:
        async with self.house() as house, self._hearing(house) as (client, listener):
            chosen = {"containers": ["late"], "events": ["status_changed"]}
            if not await self._subscribes(client, **chosen):
                return
            mark = len(listener.heard)
            await house.create("early", "run")
            late = await house.create("late", "run")
            await self.until(lambda: _states(listener, late) == ["running"])
            heard = {(name, body["container_id"]) for name, body in _told(listener, mark)}
            assert heard == {("status_changed", late)}
            event, body = await self.ask(client, "unsubscribe", {"containers": ["late"]})
            assert (event, body["containers"]) == ("unsubscribed", [])
            await house.manager.execute("delete_container", {"container_id": "late"})
            _, body = await self.ask(client, "subscribe", {"labels": {"team": "none"}})
            assert body["labels"] == {"team": "none"}
            await self.ask(client, "subscribe", {"events": ["activity_log"]})
            await house.manager.execute("delete_container", {"container_id": "early"})
            await self.until(lambda: listener.bodies("activity_log"))
            assert _states(listener, late) == ["running"]

    @asynccontextmanager
    async def _hearing(self, house: House) -> AsyncIterator[tuple[FrontendClient, Listener]]:
        listener = Listener()
        async with self.client(house.address) as client, anyio.create_task_group() as group:
            await group.start(listener.listen, client)
            yield client, listener
            group.cancel_scope.cancel()

    async def _subscribes(self, client: FrontendClient, **chosen: Any) -> bool:
        event, body = await self.ask(client, "subscribe", chosen)
        if event == "error":  # a frontend whose clients all hear the same says so
            assert [fault["field"] for fault in body["about"]["errors"]] == ["operation"]
            return False
        assert event == "subscribed"
        assert body["events"] == chosen.get("events")
        return True


def _body(position: Any) -> dict[str, Any]:
    return {"epoch": position.epoch, "seq": position.seq}


def _told(listener: Listener, mark: int) -> list[tuple[str, Any]]:
    """What was heard after a mark that is numbered, and no answer of a request's."""
    answers = ("subscribed", "unsubscribed", "snapshot", "connected")
    found = listener.heard[mark:]
    return [(name, body) for name, body in found if body.get("seq") and name not in answers]


def _numbers(listener: Listener) -> list[int]:
    return [body["seq"] for _, body in _told(listener, 0)]


def _states(listener: Listener, container_id: str) -> list[str]:
    bodies = listener.bodies("status_changed")
    return [body["new_state"] for body in bodies if body["container_id"] == container_id]
