"""Whatever a client emits is answered: by the response event and by the acknowledgement."""

from __future__ import annotations

import json
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from flow_manager_socketio.settings import SocketIOSettings

pytestmark = pytest.mark.anyio
TOKEN = "a token of some length"


async def test_answer_comes_as_event_and_as_acknowledgement(serving: Any, meeting: Any) -> None:
    async with serving() as served, meeting(served) as person:
        acknowledged = await person.ask("echo", {"a": [1, None, "ü"]})
        assert acknowledged == {"payload": {"a": [1, None, "ü"]}}
        assert await person.hears("echoed") == acknowledged


async def test_failure_is_the_error_event_and_the_same_acknowledgement(
    serving: Any, meeting: Any
) -> None:
    async with serving() as served, meeting(served) as person:
        acknowledged = await person.ask("no_such_operation", {})
        assert acknowledged["error_type"] == "container_not_found"
        assert await person.hears("error") == acknowledged


async def test_answer_event_comes_without_an_acknowledgement_asked(
    serving: Any, meeting: Any
) -> None:
    async with serving() as served, meeting(served) as person:
        await person.sio.emit("echo", {"n": 1})
        assert await person.hears("echoed") == {"payload": {"n": 1}}


async def test_client_that_wants_acknowledgements_alone_gets_no_event_but_where_it_asked_for_none(
    serving: Any, meeting: Any
) -> None:
    auth = {"token": TOKEN, "answers": "ack"}
    async with serving() as served, meeting(served, auth) as person:
        assert (await person.hears("connected"))["answers"] == "ack"
        assert await person.ask("echo", 1) == {"payload": 1}
        assert (await person.ask("no_such_operation"))["error_type"] == "container_not_found"
        await person.sio.emit("echo", 2)
        assert await person.hears("echoed") == {"payload": 2}
        assert person.names() == ["connected", "echoed"]


async def test_client_that_chooses_nothing_gets_answers_twice_and_is_told_so(
    serving: Any, meeting: Any
) -> None:
    async with serving() as served, meeting(served) as person:
        assert (await person.hears("connected"))["answers"] == "both"
        await person.ask("echo", 1)
        assert person.names() == ["connected", "echoed"]


async def test_answer_goes_to_the_asking_client_alone(serving: Any, meeting: Any) -> None:
    async with serving() as served, meeting(served) as asking, meeting(served) as other:
        await asking.ask("echo", {})
        served.gateway.publish()
        await other.hears("status_changed")
        assert "echoed" not in other.names()


@pytest.mark.parametrize("payload", [{}, [1], "text", 7, True, 1.5])
async def test_payload_of_any_json_type_reaches_the_session(
    serving: Any, meeting: Any, payload: Any
) -> None:
    async with serving() as served, meeting(served) as person:
        assert await person.ask("echo", payload) == {"payload": payload}


async def test_missing_payload_is_none(serving: Any, meeting: Any) -> None:
    async with serving() as served, meeting(served) as person:
        assert await person.ask("echo") == {"payload": None}
        assert served.gateway.asked == [("echo", None)]


async def test_two_arguments_are_a_validation_error(serving: Any, meeting: Any) -> None:
    async with serving() as served, meeting(served) as person:
        answer = await person.ask("echo", {}, {})
        assert answer["error_type"] == "validation_error"
        assert answer["details"]["errors"] == [
            {"field": "payload", "message": "must be one argument, not 2"}
        ]
        assert answer["details"]["operation"] == "echo"
        assert await person.hears("error") == answer
        assert served.gateway.asked == []


@pytest.mark.parametrize("payload", [b"\0" * 100, {"deep": [b"bytes"]}])
async def test_binary_payload_is_a_validation_error_and_the_client_stays(
    serving: Any, meeting: Any, payload: Any
) -> None:
    async with serving() as served, meeting(served) as person:
        answer = await person.ask("echo", payload)
        assert answer["error_type"] == "validation_error"
        assert "binary" in answer["message"]
        assert await person.ask("echo", 1) == {"payload": 1}


@pytest.mark.parametrize("name", ["connect", "disconnect", "message", "error", "*", "x y"])
async def test_event_of_any_name_is_a_request(serving: Any, raw: Any, name: str) -> None:
    async with serving() as served:
        client = raw(served)
        await client.open_websocket()
        await client.enter()
        await client.send("421" + json.dumps([name, {"auth": 1}]))
        acknowledged = json.loads((await client.receive_until("431"))[3:])
        assert acknowledged[0]["error_type"] == "container_not_found"
        assert served.gateway.asked == [(name, {"auth": 1})]
        await client.send('422["echo",1]')
        await client.receive_until("432")


@pytest.mark.parametrize("name", [7, None, "", ["echo"], {"a": 1}, "n" * 129])
async def test_event_without_a_proper_name_is_a_validation_error(
    serving: Any, raw: Any, name: Any
) -> None:
    async with serving() as served:
        client = raw(served)
        await client.open_websocket()
        await client.enter()
        await client.send("421" + json.dumps([name, {}]))
        answer = json.loads((await client.receive_until("431"))[3:])[0]
        assert answer["error_type"] == "validation_error"
        assert len(json.dumps(answer)) < 2000


@pytest.mark.parametrize("payload", ["NaN", "1e999", '{"a":-Infinity}', '"\\ud800"'])
async def test_loose_json_is_a_validation_error(serving: Any, raw: Any, payload: str) -> None:
    async with serving() as served:
        client = raw(served)
        await client.open_websocket()
        await client.enter()
        await client.send(f'421["echo",{payload}]')
        answer = json.loads((await client.receive_until("431"))[3:])[0]
        assert answer["error_type"] == "validation_error"
        assert "strict JSON" in answer["message"]


@pytest.mark.parametrize("name", ["blow_up", "say_nothing"])
async def test_fault_of_the_manager_is_a_system_error(
    serving: Any, meeting: Any, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    async with serving() as served, meeting(served) as person:
        answer = await person.ask(name, {})
        assert answer["error_type"] == "system_error"
        assert "own fault" not in json.dumps(answer)
        assert await person.hears("error") == answer
        assert "Request failed" in caplog.text


async def test_pipelined_requests_reach_the_manager_in_the_order_sent(
    serving: Any, meeting: Any
) -> None:
    async with serving() as served, meeting(served) as person:
        for number in range(100):
            await person.sio.emit("echo", number)
        await person.hears("echoed", 100)
        assert [payload for _, payload in served.gateway.asked] == list(range(100))
        assert [body["payload"] for body in person.bodies("echoed")] == list(range(100))


async def test_forty_packets_in_one_http_request_are_all_answered(serving: Any, raw: Any) -> None:
    async with serving() as served:
        client = raw(served)
        await client.open_polling()
        assert await client.post("40" + json.dumps({"token": "a token of some length"})) == 200
        assert await client.post(*(f'42{n}["echo",{n}]' for n in range(40))) == 200
        received: list[str] = []
        while len([p for p in received if p.startswith("43")]) < 40:
            received += await client.get()
        assert [payload for _, payload in served.gateway.asked] == list(range(40))


async def test_too_many_requests_in_flight_are_refused_at_once(serving: Any, meeting: Any) -> None:
    async with serving(SocketIOSettings(requests_in_flight=3)) as served, meeting(served) as person:
        for _ in range(5):
            await person.sio.emit("wait", {})
        error = await person.hears("error", 2)
        assert error["error_type"] == "system_error"
        assert error["details"]["retryable"] is True
        assert "Too many requests" in error["message"]
        served.gateway.gate.set()
        await person.hears("echoed", 3)
        assert await person.ask("echo", 1) == {"payload": 1}


async def test_client_that_left_costs_its_request_nothing(serving: Any, meeting: Any) -> None:
    async with serving() as served:
        async with meeting(served) as person:
            await person.sio.emit("wait", {})
            await person.until(lambda: served.gateway.asked)
        async with meeting(served) as other:
            served.gateway.gate.set()
            await anyio.lowlevel.checkpoint()
            assert await other.ask("echo", 1) == {"payload": 1}


async def test_large_message_passes_and_an_oversized_one_ends_the_connection(
    serving: Any, meeting: Any
) -> None:
    async with serving() as served, meeting(served) as person:
        text = "x" * (1024 * 1024)
        assert await person.ask("echo", text) == {"payload": text}
        await person.sio.emit("echo", "x" * (2 * 1024 * 1024))
        await person.hears("disconnected")


_MALFORMED: list[str | bytes] = [
    *("", "x", "4", "4x", "49", "42", "42{}", "42[]", "42[1", "44", "451-", "450-[]"),
    *("4" + "[" * 50_000, "42" + "[" * 50_000, "2" * 50, b"\0"),
    *("42" + "1" * 101 + "[]", "42[" + "9" * 5000 + "]"),
]


@pytest.mark.parametrize("packet", _MALFORMED, ids=lambda packet: repr(packet)[:12])
async def test_malformed_packet_ends_its_connection_without_a_traceback(
    serving: Any, meeting: Any, raw: Any, caplog: pytest.LogCaptureFixture, packet: str | bytes
) -> None:
    async with serving() as served, meeting(served) as neighbour:
        client = raw(served)
        await client.open_websocket()
        await client.send(packet)
        await client.ended()
        assert await neighbour.ask("echo", 1) == {"payload": 1}
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("packet", ["", "x", "4", "4x", "d=4", "42[1", "4" + "[" * 50_000])
async def test_malformed_http_body_is_refused(
    serving: Any, raw: Any, caplog: pytest.LogCaptureFixture, packet: str
) -> None:
    async with serving() as served:
        client = raw(served)
        await client.open_polling()
        assert await client.post(packet) in (200, 400, 413)
    assert "Traceback" not in caplog.text


async def test_oversized_http_body_is_refused(serving: Any, raw: Any) -> None:
    async with serving(SocketIOSettings(max_message_bytes=1000)) as served:
        client = raw(served)
        await client.open_polling()
        assert await client.post("4" * 1001) == 413
