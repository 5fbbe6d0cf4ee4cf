"""Cases: what the manager tells reaches every client, in order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskStatus

from flow_manager_core.manager import FlowManager
from flow_manager_core.testing.frontend_cases.clients import (
    FrontendClient,
    FrontendClients,
    Listener,
    new_engine,
)
from flow_manager_core.testing.frontend_cases.house import House
from flow_manager_core.testing.memory_client import Told, as_json

CLIENTS, MESSAGES = 3, 500


class EventCases(FrontendClients):
    """Server events."""

    async def test_every_client_hears_every_event_in_order(self) -> None:
        async with self.house() as house, self._listening(house, CLIENTS) as (told, listeners):
            one = await house.create("one", "exit", "3")
            two = await house.create("two", "run")
            await self.until(lambda: not house.runs(one))
            for step in ("stop", "start", "restart", "delete"):
                await house.manager.execute(f"{step}_container", {"container_id": two})
            await self._until_told(told, "activity_log", "container_deleted")
            for listener in listeners:
                await self.until(partial(_reached, len(told), listener.about, one, two))
                assert listener.about(one, two) == told
            assert {"status_changed", "container_crashed"} <= {name for name, _ in told}

    async def test_a_flows_messages_keep_their_order(self) -> None:
        async with self.house() as house, self._listening(house, 2) as (_, listeners):
            await house.create("one", str(MESSAGES), image="counting")
            for listener in listeners:
                await self.until(partial(_reached, MESSAGES, _counted, listener))
                assert _counted(listener) == list(range(MESSAGES))

    async def test_an_answer_is_no_event_for_others(self) -> None:
        async with self.house() as house, self._listening(house, 1) as (_, listeners):
            async with self.client(house.address) as asking:
                _, made = await self.ask(asking, "create_container", {"image": "memory"})
                await self.ask(asking, "no_such_operation", {})
                await house.manager.execute(
                    "start_container", {"container_id": made["container_id"]}
                )
            await self.until(lambda: listeners[0].bodies("status_changed"))
            assert not listeners[0].bodies("container_created")
            assert not listeners[0].bodies("error")

    async def test_output_that_a_client_follows_reaches_it_alone_and_in_order(self) -> None:
        async with self.house() as house, self._listening(house, 1) as (_, listeners):
            lines = [["stdout", f"line {number}"] for number in range(MESSAGES)]
            made = await house.manager.execute(
                "create_container",
                {"image": "memory", "name": "one", "command": ["print", json.dumps(lines)]},
            )
            async with self.client(house.address) as client, anyio.create_task_group() as group:
                follower = Listener()
                await group.start(follower.listen, client)
                payload = {"container_id": made["container_id"], "follow": True}
                event, body = await self.ask(client, "get_container_logs", payload)
                if event == "error":  # a frontend with no way to one client alone says so
                    assert [fault["field"] for fault in body["about"]["errors"]] == ["follow"]
                else:
                    await house.manager.execute("start_container", {"container_id": "one"})
                    wanted = [line for _, line in lines]
                    await self.until(lambda: len(_followed(follower)) >= len(wanted))
                    assert _followed(follower) == wanted
                group.cancel_scope.cancel()
            await self.until(lambda: listeners[0].heard)
            assert not listeners[0].bodies("container_log")

    async def test_clients_hear_that_the_manager_closes(self) -> None:
        listener = Listener()
        async with anyio.create_task_group() as group, AsyncExitStack() as stack:
            async with self.house() as house:
                client = await stack.enter_async_context(self.client(house.address))
                await group.start(listener.listen, client)
            await self.until(lambda: listener.bodies("manager_stopping"))
            group.cancel_scope.cancel()

    async def test_a_late_client_hears_what_happened_while_there_was_no_manager(self) -> None:
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(new_engine())
            async with self.house(engine) as house:
                made = await house.create("one", "run")
                early = stack if self.kept else AsyncExitStack()
                client = await early.enter_async_context(self.client(house.address))
            house.kill(made)
            await self.until(lambda: not house.runs(made))
            async with self.house(engine) as later, AsyncExitStack() as late:
                if not self.kept:
                    await early.aclose()
                    client = await late.enter_async_context(self.client(later.address))
                assert await self._hears_crash(client) == made

    async def _hears_crash(self, client: FrontendClient) -> str:
        with anyio.fail_after(self.patience):
            async for name, body in client.events():
                if name == "container_crashed":
                    return str(body["container_id"])
        raise AssertionError("the client's events ended")

    @asynccontextmanager
    async def _listening(
        self, house: House, count: int
    ) -> AsyncIterator[tuple[list[Told], list[Listener]]]:
        """Let clients in; give what the manager tells from then on, and what each of them hears."""
        told: list[Told] = []
        listeners = [Listener() for _ in range(count)]
        async with AsyncExitStack() as stack, anyio.create_task_group() as group:
            for listener in listeners:
                client = await stack.enter_async_context(self.client(house.address))
                await group.start(listener.listen, client)
            await group.start(self._follow, house.manager, told)
            yield told, listeners
            group.cancel_scope.cancel()

    async def _follow(
        self, manager: FlowManager, told: list[Told], *, task_status: TaskStatus[None]
    ) -> None:
        async with manager.subscribe() as events:
            task_status.started()
            async for event in events:
                told.append((event.name, as_json(manager.event_body(event))))

    async def _until_told(self, told: list[Told], name: str, activity: str) -> None:
        await self.until(
            lambda: any(n == name and body["activity_type"] == activity for n, body in told)
        )


def _reached(count: int, what: Callable[..., list[Any]], *about: Any) -> bool:
    return len(what(*about)) >= count


def _followed(listener: Listener) -> list[str]:
    return [line["line"] for body in listener.bodies("container_log") for line in body["lines"]]


def _counted(listener: Listener) -> list[int]:
    found = [body["message"] for body in listener.bodies("message_received")]
    return [message["data"] for message in found if message["command"] == "count"]
