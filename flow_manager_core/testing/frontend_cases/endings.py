"""Cases: clients that vanish, and managers that close."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from flow_manager_core.testing.frontend_cases.clients import FrontendClients, Listener, new_engine
from flow_manager_core.testing.memory_client import Told

#: Seconds that the manager waits for requests in flight, and then for what it cancelled to unwind.
WAITING, UNWINDING = 0.2, 1.0


class EndingCases(FrontendClients):
    """The ways out."""

    async def test_what_a_vanished_client_asked_for_is_done(self) -> None:
        async with self.house() as house:
            made = await house.create("one", "stubborn")
            async with self.client(house.address) as client, anyio.create_task_group() as group:
                group.start_soon(
                    client.request, "stop_container", {"container_id": made, "timeout": 0.5}
                )
                await self.until(lambda: house.stopping(made))
                group.cancel_scope.cancel()
            await self.until(lambda: not house.runs(made))
            async with self.client(house.address) as another:
                event, body = await self.ask(
                    another, "get_container_status", {"container_id": made}
                )
            assert (event, body["state"]) == ("container_status", "stopped")

    async def test_a_close_with_work_in_flight_fails_it_by_name(self) -> None:
        answers: list[Told] = []

        async with anyio.create_task_group() as group, AsyncExitStack() as stack:
            engine = await stack.enter_async_context(new_engine())

            async with self.house(engine, shutdown_timeout=WAITING) as house:
                client = await stack.enter_async_context(self.client(house.address))
                made = await house.create("one", "stubborn")

                async def ask() -> None:
                    payload = {"container_id": made, "timeout": 600}
                    answers.append(await client.request("stop_container", payload))

                group.start_soon(ask)
                await self.until(lambda: house.stopping(made))
                begun = time.monotonic()
            assert time.monotonic() - begun < WAITING + UNWINDING + self.prompt
            await self.until(lambda: answers)
            house.kill(made)
        [(event, body)] = answers
        assert (event, body["oops"]) == ("error", "system_error")
        assert "shut" in body["told"] or "closing" in body["told"]

    async def test_a_close_answers_what_ends_in_time(self) -> None:
        answers: list[Told] = []

        async with anyio.create_task_group() as group, AsyncExitStack() as stack:
            async with self.house(shutdown_timeout=self.patience) as house:
                client = await stack.enter_async_context(self.client(house.address))
                made = await house.create("one", "stubborn")

                async def ask() -> None:
                    payload = {"container_id": made, "timeout": 0.3}
                    answers.append(await client.request("stop_container", payload))

                group.start_soon(ask)
                await self.until(lambda: house.stopping(made))
            await self.until(lambda: answers)
        assert answers[0][0] == "container_stopped"

    async def test_a_close_is_prompt_although_clients_stay(self) -> None:
        async with AsyncExitStack() as stack, anyio.create_task_group() as group:
            async with self.house() as house:
                for _ in range(3):
                    client = await stack.enter_async_context(self.client(house.address))
                    await group.start(Listener().listen, client)
                begun = time.monotonic()
            assert time.monotonic() - begun < self.prompt
            group.cancel_scope.cancel()

    async def test_what_ends_a_life_reaches_the_caller_as_it_was_raised(self) -> None:
        with pytest.raises(LookupError, match="as it was"):
            async with self.house() as house:
                async with self.client(house.address) as client:
                    await self.ask(client, "list_containers", {})
                raise LookupError("as it was")

    async def test_a_life_that_is_cancelled_ends_promptly(self) -> None:
        async with anyio.create_task_group() as group:
            ready = anyio.Event()

            async def live() -> None:
                async with self.house():
                    ready.set()
                    await anyio.sleep_forever()

            group.start_soon(live)
            with anyio.fail_after(self.patience):
                await ready.wait()
            begun = time.monotonic()
            group.cancel_scope.cancel()
        assert time.monotonic() - begun < self.prompt

    async def test_the_next_life_serves_at_once(self) -> None:
        async with new_engine() as engine:
            for number in range(3):
                async with self.house(engine) as house, self.client(house.address) as client:
                    _, body = await self.ask(client, "list_containers", {})
                    assert body["count"] == number
                    await house.create(f"flow-{number}", "run")

    async def test_a_close_leaves_no_task_and_no_descriptor(self) -> None:
        await self._live_once()  # what is made once and kept, such as a resolver's thread
        tasks, descriptors = len(anyio.get_running_tasks()), _descriptors()
        for _ in range(3):
            await self._live_once()
        await self.until(
            lambda: len(anyio.get_running_tasks()) <= tasks and _descriptors() <= descriptors
        )

    async def _live_once(self) -> None:
        async with self.house() as house, self.client(house.address) as client:
            await house.create("one", "run")
            await self.ask(client, "list_containers", {})


def _descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
