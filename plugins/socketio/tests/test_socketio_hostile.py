"""Whatever a client sends is answered with the standard error or closed; nobody else notices."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.e2e.service import Service
from tests.support.socketio_wire import BINARY, TEXT, Ended, Wire, assert_clean, frame, port_of

#: Bytes that all of this module's hostility may leave the service larger by: the allocator's
#: leftovers of parsing a few packets of 2 MiB.
MEMORY_BOUND = 48 * 1024 * 1024
ECHO = "no_such_request"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service, whose log must be clean and whose memory small in the end."""
    root = tmp_path_factory.mktemp("hostile")
    with Service(root, "process", "python", "", LOG_LEVEL="INFO") as running:
        assert running.process is not None
        process = psutil.Process(running.process.pid)
        with Wire(port_of(running.url)).enter(running.token) as warm:
            warm.ask("list_containers", {})
        before = process.memory_info().rss
        yield running
        assert_clean(running.lines)
        grown = process.memory_info().rss - before
        assert grown < MEMORY_BOUND, f"{grown} bytes more than before"


@pytest.fixture
def neighbour(service: Service) -> Iterator[Wire]:
    """Another client, which is served before and after."""
    with Wire(port_of(service.url)).enter(service.token) as client:
        yield client
        assert client.ask("list_containers", {})["count"] == 0
        assert_clean(service.lines)


def error_of(packet: str) -> dict[str, Any]:
    """The standard error in an answer."""
    body: dict[str, Any] = json.loads(packet[packet.index("[") :])[-1]
    assert body["error"] is True
    assert {"error_type", "message", "details", "timestamp"} <= body.keys()
    return body


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


#: What is sent, and what it is answered with: a request's error, or the end after an `error` event.
ANSWERED: dict[str, str] = {
    "an unknown event": f'["{ECHO}",{{}}]',
    "no argument": f'["{ECHO}"]',
    "two arguments": '["list_containers",{},{}]',
    "a thousand arguments": '["list_containers"' + ",1" * 1000 + "]",
    "null": '["create_container",null]',
    "a number": '["create_container",7]',
    "a text": '["create_container","text"]',
    "a list": '["create_container",[]]',
    "true": '["create_container",true]',
    "an unknown field": '["create_container",{"image":"python","privileged":true}]',
    "an event named connect": '["connect",{}]',
    "an event named disconnect": '["disconnect",{}]',
    "an event named connect_error": '["connect_error",{}]',
    "an event named message": '["message",{}]',
    "an event named error": '["error",{}]',
    "an event named *": '["*",{}]',
    "a name that is no text": "[7,{}]",
    "a name that is null": "[null,{}]",
    "a name of a megabyte": '["' + "n" * 1_000_000 + '",{}]',
    "NaN": '["list_containers",NaN]',
    "Infinity": '["list_containers",{"labels":Infinity}]',
    "1e999": '["list_containers",1e999]',
    "a lone surrogate": '["list_containers","\\ud800"]',
    "an integer of 5,000 digits": '["list_containers",' + "9" * 5000 + "]",
    "a deep nesting": f'["list_containers",{deep(300)}]',
    "a key twice": '["list_containers",{"state":"running","state":"exited"}]',
    "a key twice, deep inside": '["list_containers",{"labels":{"a":"1","b":{"x":1,"x":1}}}]',
    "a key twice, written loosely": '["list_containers",{"state" :"x","state"\t: "y"}]',
    "a key twice, once escaped": '["list_containers",{"state":"x","st\\u0061te":"y"}]',
    "a key twice, hidden by a quote": '["list_containers",{"a":"\\u0022:","b":1,"b":2}]',
}
CLOSED: dict[str, bytes] = {
    "a packet without a type": frame(TEXT, b"x"),
    "an empty packet": frame(TEXT, b""),
    "a Socket.IO type that does not exist": frame(TEXT, b"49"),
    "an event without data": frame(TEXT, b"42"),
    "an event that is an object": frame(TEXT, b"42{}"),
    "an event without a name": frame(TEXT, b"42[]"),
    "cut JSON": frame(TEXT, b'42["list_containers",{"a'),
    "a connect_error of a client": frame(TEXT, b"44{}"),
    "an acknowledgement id of 101 digits": frame(TEXT, b"42" + b"9" * 101 + b'["x"]'),
    "attachments beyond counting": frame(TEXT, b'4599999999999-["x",{}]'),
    "nesting 100,000 deep": frame(TEXT, b"42" + b"[" * 100_000),
    "an oversized packet": frame(TEXT, b'42["list_containers","' + b"x" * 2_100_000 + b'"]'),
    "text that is no UTF-8": frame(TEXT, b"\xff\xfe\xfd"),
    "a frame of a kind that does not exist": frame(5, b"x"),
    "a frame without a mask": b"\x81\x01x",
    "a message in 5,000 pieces": frame(TEXT, b"42", last=False)
    + b"".join(frame(0, b" ", last=False) for _ in range(5_000)),
}
#: What is refused before there is a packet: the connection ends without a word.
UNTOLD = [*CLOSED][-5:]


@pytest.mark.parametrize("name", ANSWERED)
def test_request_of_any_kind_is_answered_with_the_standard_error(
    service: Service, neighbour: Wire, name: str
) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        client.send("4217" + ANSWERED[name])
        error = error_of(client.until("4317["))
        assert error["error_type"] == "validation_error"
        assert len(json.dumps(error)) < 20_000
        client.send("42" + ANSWERED[name])
        error_of(client.until('42["error"'))
        assert client.ask("list_containers", {})["count"] == 0


@pytest.mark.parametrize("name", CLOSED)
def test_what_cannot_be_read_ends_its_connection_alone(
    service: Service, neighbour: Wire, name: str
) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        with suppress(Ended):
            client.write(CLOSED[name])
        heard: list[str] = []
        with pytest.raises(Ended):
            while True:
                heard.append(client.packet())
        if name not in UNTOLD:
            [error] = [error_of(packet) for packet in heard if packet.startswith('42["error"')]
            assert "cannot be read" in error["message"]


def test_longest_acknowledgement_id_comes_back_whole(service: Service, neighbour: Wire) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        client.send("42" + "9" * 100 + '["list_containers",{}]')
        client.until("43" + "9" * 100 + "[")


def test_attachments_announced_and_never_sent_are_answered_at_once(
    service: Service, neighbour: Wire
) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        client.send('451-7["list_containers",{"_placeholder":true,"num":0}]')
        assert "binary" in error_of(client.until("437["))["message"]
        assert client.ask("list_containers", {})["count"] == 0


@pytest.mark.parametrize("announced", [True, False])
def test_a_thousand_attachments_are_not_kept(
    service: Service, neighbour: Wire, announced: bool
) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        if announced:
            client.send('451000-7["list_containers",{"_placeholder":true,"num":0}]')
            error_of(client.until("437["))
        for _ in range(1000):
            client.write(frame(BINARY, b"x" * 10_000))
        assert client.ask("list_containers", {})["count"] == 0


def test_acknowledgements_that_nobody_asked_for_are_nobodys_concern(
    service: Service, neighbour: Wire
) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        for packet in ("431[]", "43[]", '439[{"a":1}]', "43" + "9" * 100 + "[1]", "461-1[]"):
            client.send(packet)
        assert client.ask("list_containers", {})["count"] == 0


def test_a_thousand_connects_make_no_client_hear_twice(service: Service, neighbour: Wire) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        for _ in range(1000):
            client.send("40" + json.dumps({"token": service.token}))
        for _ in range(1000):
            assert "done already" in error_of(client.until('42["error"'))["message"]
        client.send(f'42["{ECHO}",{{}}]')
        client.until('42["error"')
        client.send('42["list_containers",{}]')
        assert client.packet().startswith('42["container_list"')


def test_a_thousand_connects_and_disconnects_are_borne(service: Service, neighbour: Wire) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        for _ in range(1000):
            client.send("41")
            client.send("40" + json.dumps({"token": service.token}))
            client.until('42["connected"')
        assert client.ask("list_containers", {})["count"] == 0


def test_namespace_that_does_not_exist_is_refused_with_the_standard_error(
    service: Service, neighbour: Wire
) -> None:
    with Wire(port_of(service.url)).open() as client:
        client.send("40/admin," + json.dumps({"token": service.token}))
        refused = json.loads(client.until("44/admin,")[len("44/admin,") :])
        assert refused["data"]["error_type"] == "validation_error"
        assert "there is only /" in refused["message"]
        client.send("40" + json.dumps({"token": service.token}))
        client.until('42["connected"')


def test_no_one_is_left_of_all_this(service: Service, neighbour: Wire) -> None:
    """Every connection above has ended; the service holds no descriptor for them."""
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    end = time.monotonic() + 10
    while len(process.net_connections("tcp")) > 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(process.net_connections("tcp")) == 2
