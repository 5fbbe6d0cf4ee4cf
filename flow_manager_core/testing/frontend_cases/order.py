"""Cases: what waits for what."""

from __future__ import annotations

import anyio

from flow_manager_core.testing.frontend_cases.clients import FrontendClients
from flow_manager_core.testing.memory_client import Told


class OrderCases(FrontendClients):
    """One container's requests of one client in order, everything else side by side."""

    async def test_requests_on_one_container_are_carried_out_in_the_order_they_were_sent(
        self,
    ) -> None:
        async with self.house() as house, self.client(house.address) as client:
            await house.create("one", "run")
            about = {"container_id": "one"}
            steps = ["stop", "start", "stop", "restart", "stop", "delete"]
            answers = await self.ask_in_order(client, [(f"{s}_container", about) for s in steps])
            assert [event for event, _ in answers] == [
                "container_stopped",
                "container_started",
                "container_stopped",
                "container_restarted",
                "container_stopped",
                "container_deleted",
            ]

    async def test_a_request_waits_for_the_one_before_it(self) -> None:
        async with self.house() as house, self.client(house.address) as client:
            await house.create("one", "stubborn")
            answers = await self.ask_in_order(
                client,
                [
                    ("stop_container", {"container_id": "one", "timeout": 0.3}),
                    ("get_container_status", {"container_id": "one"}),
                ],
            )
            assert [event for event, _ in answers] == ["container_stopped", "container_status"]
            assert answers[1][1]["state"] == "stopped"

    async def test_requests_on_different_containers_do_not_wait_for_each_other(self) -> None:
        async with self.house() as house, self.client(house.address) as client:
            slow = await house.create("slow", "stubborn")
            await house.create("quick", "run")
            answers: list[Told] = []

            async def stop_slowly() -> None:
                answers.append(
                    await client.request("stop_container", {"container_id": slow, "timeout": 600})
                )

            async with anyio.create_task_group() as group:
                group.start_soon(stop_slowly)
                await self.until(lambda: house.stopping(slow))
                for step in ("stop", "start", "restart", "delete"):
                    event, _ = await self.ask(
                        client, f"{step}_container", {"container_id": "quick"}
                    )
                    assert event != "error"
                assert not answers
                house.kill(slow)
            assert answers[0][0] == "container_stopped"

    async def test_clients_do_not_wait_for_each_other(self) -> None:
        async with (
            self.house() as house,
            self.client(house.address) as waiting,
            self.client(house.address) as other,
        ):
            slow = await house.create("slow", "stubborn")

            async def stop_slowly() -> None:
                await waiting.request("stop_container", {"container_id": slow, "timeout": 600})

            async with anyio.create_task_group() as group:
                group.start_soon(stop_slowly)
                await self.until(lambda: house.stopping(slow))
                event, body = await self.ask(other, "list_containers", {})
                assert (event, body["count"]) == ("container_list", 1)
                house.kill(slow)
