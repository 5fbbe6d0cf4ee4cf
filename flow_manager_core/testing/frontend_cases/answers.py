"""Cases: every request is answered, with the manager's own words."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from flow_manager_core.testing.frontend_cases.clients import FrontendClient, FrontendClients
from flow_manager_core.testing.memory_client import Told

#: In all, from so many tasks of one client at a time.
REQUESTS, AT_ONCE = 1000, 20


class AnswerCases(FrontendClients):
    """One request, one answer."""

    async def test_an_answer_is_the_managers_own(self) -> None:
        async with self.house() as house, self.client(house.address) as client:
            made = await house.create("one", "run")
            for name, event, more in [
                ("get_container_status", "container_status", {"container_id": made}),
                ("list_containers", "container_list", {}),
                ("get_container_logs", "container_logs", {"container_id": made}),
            ]:
                payload = {"request_id": f"ask-{name}", **more}
                _, expected = await house.execute(name, payload)
                found = await self.ask(client, name, payload)
                assert _steady(found) == _steady((event, expected))

    async def test_a_containers_whole_life_is_led_by_a_client(self) -> None:
        async with self.house() as house, self.client(house.address) as client:
            event, made = await self.ask(
                client, "create_container", {"image": "memory", "name": "one"}
            )
            assert (event, made["name"], made["status"]) == ("container_created", "one", "created")
            about = {"container_id": made["container_id"]}
            for name, expected in [
                ("start_container", ("container_started", "running")),
                ("stop_container", ("container_stopped", "stopped")),
                ("restart_container", ("container_restarted", "running")),
                ("delete_container", ("container_deleted", "deleted")),
            ]:
                event, body = await self.ask(client, name, about)
                assert (event, body["status"]) == expected
                assert body["container_id"] == made["container_id"]
            assert (await house.manager.execute("list_containers", {}))["count"] == 0

    async def test_a_failure_comes_in_the_chosen_error_format(self) -> None:
        async with self.house() as house, self.client(house.address) as client:
            payload = {"container_id": "nobody", "request_id": "seek"}
            found = await self.ask(client, "start_container", payload)
            assert found == await house.execute("start_container", payload)
            event, body = found
            assert (event, body["oops"]) == ("error", "container_not_found")
            assert body["about"]["request_id"] == "seek"

    @pytest.mark.parametrize("name", ["no_such_operation", "connect", "error", "*", "x y", "ü"])
    async def test_an_unknown_operation_is_named(self, name: str) -> None:
        async with self.house() as house, self.client(house.address) as client:
            payload = {"request_id": "unknown"}
            found = await self.ask(client, name, payload)
            assert found == await house.execute(name, payload)
            assert found[1]["oops"] == "validation_error"
            assert found[1]["about"]["operation"] == name
            assert (await self.ask(client, "list_containers", {}))[0] == "container_list"

    @pytest.mark.parametrize(
        "payload",
        [None, True, 7, 1.5, "text", "", [], [1, {"a": None}], {"image": 7, "extra": "ü"}],
        ids=repr,
    )
    async def test_a_payload_of_any_json_type_is_answered(self, payload: Any) -> None:
        async with self.house() as house, self.client(house.address) as client:
            if isinstance(payload, dict):
                payload = {**payload, "request_id": "odd"}
            found = await self.ask(client, "create_container", payload)
            assert found == await house.execute("create_container", payload)
            assert found[1]["oops"] == "validation_error"

    async def test_text_of_any_language_comes_through_unchanged(self) -> None:
        labels = {"text": 'ü \U0001f980 "quoted" \\ / <&>'}
        async with self.house() as house, self.client(house.address) as client:
            payload = {"image": "memory", "name": "one", "labels": labels}
            await self.ask(client, "create_container", payload)
            _, listed = await self.ask(client, "list_containers", {})
            assert listed["containers"][0]["labels"] == labels

    async def test_the_same_create_sent_again_makes_one_container(self) -> None:
        async with self.house() as house, self.client(house.address) as client:
            payload = {"image": "memory", "start": True, "request_id": "once"}
            answers = [await self.ask(client, "create_container", payload) for _ in range(3)]
            assert answers[0][1]["request_id"] == "once"
            assert answers == [answers[0]] * 3
            assert (await house.manager.execute("list_containers", {}))["count"] == 1

    async def test_a_thousand_requests_get_each_its_own_answer(self) -> None:
        async with self.house() as house, self.client(house.address) as client:
            await house.create("one", "run")
            wrong: list[Told] = []
            async with anyio.create_task_group() as group:
                for worker in range(AT_ONCE):
                    group.start_soon(self._keep_asking, client, worker, wrong)
            assert not wrong

    async def _keep_asking(self, client: FrontendClient, worker: int, wrong: list[Told]) -> None:
        for number in range(REQUESTS // AT_ONCE):
            key = f"{worker}-{number}"
            known = number % 2 == 0
            payload = {"container_id": "one" if known else "other", "request_id": key}
            event, body = await self.ask(client, "get_container_status", payload)
            found = body.get("request_id") if known else body.get("about", {}).get("request_id")
            if (event, found) != ("container_status" if known else "error", key):
                wrong.append((event, body))


def _steady(told: Told) -> Told:
    """An answer without what changes from one moment to the next."""
    event, body = told
    return event, {k: v for k, v in body.items() if k not in ("uptime", "resource_usage")}
