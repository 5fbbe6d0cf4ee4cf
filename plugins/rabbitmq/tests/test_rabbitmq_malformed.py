"""What no client should send: it is answered and gone, and the next command is carried out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import aiormq
import pamqp.encode
import pytest

from plugins.rabbitmq.tests.amqp_client import AmqpClient, amqp_client

pytestmark = pytest.mark.anyio

UNREADABLE = "unreadable"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"a": NaN}', "NaN"),
        (b"[1e999]", "too large"),
        (b'["\\ud800"]', "surrogates"),
        (b"[" * 100_000, "JSON"),
        (b"9" * 5000, "JSON"),
        (b" " * 5000, "JSON"),
    ],
    ids=["cut", "no-utf8", "nan", "infinite", "surrogate", "deep", "digits", "blank"],
)
async def test_a_body_that_is_no_strict_json_is_a_validation_error(
    rabbitmq: Any, managing: Any, instance: str, body: bytes, word: str
) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        answer = await client.command("list_containers", body, message_id="bad")
        told = json.loads(answer.body)
        assert (answer.type, told["error_type"]) == ("error", "validation_error")
        assert word in told["message"]
        assert told["details"]["errors"][0]["field"] == "payload"
        assert told["details"]["operation"] == "list_containers"
        assert told["details"]["request_id"] == "bad"
        await _goes_on(client)


@pytest.mark.parametrize("name", [None, "", "x" * 129, "ü" * 100])
async def test_a_command_that_names_no_operation_is_a_validation_error(
    rabbitmq: Any, managing: Any, instance: str, name: str | None
) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        answer = await client.command(name, b"{}")
        told = json.loads(answer.body)
        assert (answer.type, told["error_type"]) == ("error", "validation_error")
        await _goes_on(client)


async def test_an_oversized_command_is_a_validation_error(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing(max_command_bytes=2000), amqp_client(rabbitmq.url, instance) as client:
        answer = await client.command("list_containers", b" " * 2001)
        assert "over the limit of 2000" in json.loads(answer.body)["message"]
        await _goes_on(client)


async def test_an_empty_body_is_a_missing_payload(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        answer = await client.command("list_containers", b"")
        assert "payload: is missing" in json.loads(answer.body)["message"]


async def test_a_message_id_that_can_be_no_request_id_is_a_validation_error(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing(), amqp_client(rabbitmq.url, instance) as client:
        answer = await client.command("list_containers", b"{}", message_id="x" * 129)
        assert json.loads(answer.body)["details"]["errors"][0]["field"] == "request_id"


async def test_an_answer_over_the_limit_becomes_an_error(
    rabbitmq: Any, managing: Any, instance: str
) -> None:
    async with managing(max_answer_bytes=1024), amqp_client(rabbitmq.url, instance) as client:
        create = {"image": "memory", "name": "one", "labels": {"long": "x" * 2000}}
        await client.request("create_container", create)
        event, body = await client.request("list_containers", {})
        assert (event, body["error_type"]) == ("error", "system_error")
        await client.request("delete_container", {"container_id": "one"})
        await _goes_on(client)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A text that goes out as bytes which are no UTF-8, as AMQP itself allows."""
    proper = pamqp.encode.short_string
    encode = {"shortstr": lambda v: b"\x02\xff\xfe" if v == UNREADABLE else proper(v)}
    with monkeypatch.context() as patch:
        patch.setattr(pamqp.encode, "METHODS", {**pamqp.encode.METHODS, **encode})
        yield UNREADABLE


@pytest.mark.parametrize("count", [1, 3])
async def test_properties_that_cannot_be_read_are_thrown_away_and_nothing_else(
    rabbitmq: Any,
    managing: Any,
    instance: str,
    unreadable: str,
    caplog: pytest.LogCaptureFixture,
    count: int,
) -> None:
    async with managing() as manager, amqp_client(rabbitmq.url, instance) as client:
        channel = await client.channel.get_underlay_channel()
        properties = aiormq.spec.Basic.Properties(
            message_type="list_containers", correlation_id=unreadable
        )
        for number in range(count):
            create = {"image": "memory", "name": f"before-{number}"}
            await client.send(
                "create_container", json.dumps(create).encode(), message_id=str(number)
            )
            await channel.basic_publish(b"{}", routing_key=client.commands, properties=properties)
        await _goes_on(client)
        assert caplog.text.count("A command was thrown away") == count
        listed = await manager.execute("list_containers", {})
        assert listed["count"] == count


async def _goes_on(client: AmqpClient) -> None:
    assert (await client.request("list_containers", {}))[0] == "container_list"
