"""What clients can ask of durable messages, through the whole manager."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from flow_manager_core.errors import FlowManagerError, SystemFault
from flow_manager_core.events import MessageUndeliverable
from flow_manager_core.framing import HEADER, encode_frame
from flow_manager_core.models import Message
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryFlow
from flow_manager_core.testing.memory_transport import MemoryNetwork
from tests.core.test_manager import House, hold, house

pytestmark = pytest.mark.anyio

NETWORK = MemoryNetwork()
HELLO = {"protocol": 2, "durable": {"source": "s", "epoch": "", "seen": 0}}


async def greeter(flow: MemoryFlow) -> int:
    """Says hello with durable unless it is told not to, and reads until its channel ends."""
    async with await NETWORK.connect(flow.environment) as stream:
        if flow.command != ("plain",):
            await stream.send(encode_frame(Message("hello", HELLO), 1024))
        reader = BufferedByteReceiveStream(stream)
        terminate = flow.catch_terminate()

        async def read() -> None:
            while True:
                size = int.from_bytes(await reader.receive_exactly(HEADER), "big")
                flow.print((await reader.receive_exactly(size)).decode())

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await terminate.wait()
            group.cancel_scope.cancel()
        return 0


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[House]:
    async with anyio.create_task_group() as group:
        engine = await group.start(hold, {"greeter": greeter, **SCRIPTED})
        async with house(engine, NETWORK, **settings) as h:
            await h.ask("create_container", image="greeter", name="one")
            yield h
        group.cancel_scope.cancel()


async def send(h: House, data: Any = None, **more: Any) -> dict[str, Any]:
    message = {"command": "do", "data": data}
    return await h.ask(
        "send_message", container_id="one", message=message, delivery="durable", **more
    )


async def status(h: House, answer: dict[str, Any]) -> dict[str, Any]:
    return await h.ask("get_message", message_id=answer["message_id"])


async def until_status(h: House, answer: dict[str, Any], wanted: str) -> dict[str, Any]:
    with anyio.fail_after(10):
        while (found := await status(h, answer))["status"] != wanted:
            await anyio.sleep(0.01)
    return found


async def refusal(h: House, operation: str, **payload: Any) -> FlowManagerError:
    with pytest.raises(FlowManagerError) as refused:
        await h.ask(operation, **payload)
    return refused.value


async def test_it_is_accepted_while_the_container_does_not_run_and_says_what_it_waits_for() -> None:
    async with running() as h:
        answer = await send(h, {"n": 1}, ttl=600, max_deliveries=3)
        assert answer == {
            "container_id": answer["container_id"],
            "message": {"command": "do", "data": {"n": 1}},
            "message_id": answer["message_id"],
            "delivery": "durable",
            "status": "accepted",
            "waiting_for": "the flow to connect",
        }
        found = await status(h, answer)
        assert found["status"] == "accepted"
        assert (found["attempts"], found["max_deliveries"]) == (0, 3)
        assert found["accepted_at"] < found["expires_at"]
        assert found["waiting_for"] == "the flow to connect"
        await h.ask("start_container", container_id="one")
        found = await until_status(h, answer, "sent")
        assert found["waiting_for"] == "the flow's acknowledgement"
        assert found["sent_at"] >= found["accepted_at"]


async def test_a_flow_that_never_said_hello_gets_direct_messages_and_durable_ones_say_so() -> None:
    async with running() as h:
        await h.ask("create_container", image="greeter", name="old", command=["plain"], start=True)
        await h.until(lambda: h.names("socket_connected"))
        message = {"command": "do"}
        direct = await h.ask("send_message", container_id="old", message=message)
        assert direct["status"] == "sent"
        answer = await h.ask(
            "send_message", container_id="old", message=message, delivery="durable"
        )
        assert answer["waiting_for"] == "a flow that says hello with durable"
        assert (await status(h, answer))["waiting_for"] == "a flow that says hello with durable"
        logs = await h.ask("get_container_logs", container_id="old")
        assert [line["line"] for line in logs["lines"]] == ['{"command":"do","data":null}']


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"reply": True}, ["reply"]),
        ({"timeout": 3}, ["timeout"]),
        ({"delivery": "direct", "ttl": 5, "max_deliveries": 2}, ["ttl", "max_deliveries"]),
        ({"ttl": 0}, ["ttl"]),
        ({"max_deliveries": 0}, ["max_deliveries"]),
        ({"delivery": "later"}, ["delivery"]),
    ],
)
async def test_what_has_no_meaning_is_refused(more: dict[str, Any], fields: list[str]) -> None:
    async with running() as h:
        payload = {"delivery": "durable", "message": {"command": "do"}, **more}
        error = await refusal(h, "send_message", container_id="one", **payload)
        assert error.error_type == "validation_error"
        assert [fault["field"] for fault in error.details["errors"]] == fields


async def test_the_same_request_again_is_the_same_message_and_another_one_is_refused() -> None:
    async with running() as h:
        answer = await send(h, 1, request_id="r")
        assert await send(h, 1, request_id="r") == answer
        error = await refusal(
            h,
            "send_message",
            container_id="one",
            message={"command": "do", "data": 2},
            delivery="durable",
            request_id="r",
        )
        assert error.error_type == "validation_error"
        assert error.details["errors"][0]["field"] == "request_id"


@pytest.mark.parametrize("message_id", ["x", "x-1", "-1", "{epoch}-", "{epoch}-9", "{epoch}-x"])
async def test_a_message_that_is_not_known_is_a_validation_error(message_id: str) -> None:
    async with running() as h:
        epoch = (await send(h))["message_id"].rpartition("-")[0]
        named = message_id.format(epoch=epoch)
        for operation in ("get_message", "delete_undeliverable", "resend_undeliverable"):
            error = await refusal(h, operation, message_id=named)
            assert error.error_type == "validation_error"


async def test_dead_letters_are_listed_whole_sent_again_and_forgotten() -> None:
    async with running() as h:
        answers = [await send(h, number, ttl=0.01) for number in range(3)]
        for answer in answers:
            found = await until_status(h, answer, "undeliverable")
            assert found["reason"] == "ttl"
            assert found["waiting_for"] is None
        listed = await h.ask("list_undeliverable", container_id="one")
        assert [entry["message"]["data"] for entry in listed["messages"]] == [0, 1, 2]
        assert (listed["count"], listed["total"], listed["more"]) == (3, 3, False)
        page = await h.ask("list_undeliverable", limit=1, offset=1)
        assert [entry["message_id"] for entry in page["messages"]] == [answers[1]["message_id"]]
        assert page["more"]
        again = await h.ask("resend_undeliverable", message_id=answers[0]["message_id"])
        assert again["message"] == {"command": "do", "data": 0}
        assert again["message_id"] != answers[0]["message_id"]
        gone = await h.ask("delete_undeliverable", message_id=answers[1]["message_id"])
        assert gone["status"] == "deleted"
        await until_status(h, again, "undeliverable")
        listed = await h.ask("list_undeliverable")
        assert [entry["message"]["data"] for entry in listed["messages"]] == [2, 0]


async def test_a_long_list_comes_in_answers_of_bounded_size() -> None:
    async with running() as h:
        answers = [await send(h, "x" * 700_000, ttl=0.01) for _ in range(3)]
        for answer in answers:
            await until_status(h, answer, "undeliverable")
        listed = await h.ask("list_undeliverable")
        assert (listed["count"], listed["total"], listed["more"]) == (1, 3, True)


async def test_a_deleted_containers_messages_are_dead_letters_that_can_still_be_found() -> None:
    async with running() as h:
        answer = await send(h, "left")
        await h.ask("delete_container", container_id="one")
        found = await status(h, answer)
        assert (found["status"], found["reason"]) == ("undeliverable", "container_deleted")
        listed = await h.ask("list_undeliverable", container_id=answer["container_id"])
        assert listed["messages"][0]["message"] == {"command": "do", "data": "left"}
        await h.until(lambda: h.names("message_undeliverable"))
        (event,) = [each for each in h.told if isinstance(each, MessageUndeliverable)]
        assert event.message == {"command": "do", "data": "left"}
        error = await refusal(h, "resend_undeliverable", message_id=answer["message_id"])
        assert error.error_type == "container_not_found"


async def test_a_container_that_somebody_else_removes_ends_its_messages_too() -> None:
    async with running() as h:
        answer = await send(h, "left")
        (boxes,) = h.engine.boxes.values()
        boxes.clear()
        found = await until_status(h, answer, "undeliverable")
        assert found["reason"] == "container_deleted"


async def test_too_many_are_refused_with_the_settings_name() -> None:
    async with running(durable_messages=1) as h:
        await send(h)
        error = await refusal(
            h, "send_message", container_id="one", message={"command": "x"}, delivery="durable"
        )
        assert isinstance(error, SystemFault)
        assert error.retryable
        assert error.details["setting"] == "durable_messages"


async def test_what_waits_and_what_is_dead_is_in_the_metrics() -> None:
    def told(h: House) -> dict[str, float]:
        lines = h.manager.metrics()[0].decode().splitlines()
        return {
            name.removeprefix("flow_manager_durable_"): float(value)
            for name, value in (line.split() for line in lines if "_durable_" in line[:24])
        }

    async with running() as h:
        kept, lost = await send(h, "kept"), await send(h, "lost", ttl=0.05)
        await until_status(h, lost, "undeliverable")
        found = told(h)
        assert found['messages{state="waiting"}'] == 1
        assert found['messages{state="undeliverable"}'] == 1
        assert 0 < found["waiting_bytes"] < 1000
        await h.ask("delete_container", container_id="one")
        await until_status(h, kept, "undeliverable")
        found = told(h)
        assert found['messages{state="waiting"}'] == found["waiting_bytes"] == 0
        assert found['messages{state="undeliverable"}'] == 2
