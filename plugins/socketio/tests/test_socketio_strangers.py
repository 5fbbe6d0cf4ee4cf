"""Nobody who has not been let in holds a connection for long, or much memory, or keeps others out.

Over a real service, with `connect_timeout` made shorter than it is by default.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest

from tests.e2e.service import Service
from tests.support.socketio_wire import BINARY, TEXT, Ended, Wire, assert_clean, frame, port_of

PATIENCE = 1.0
#: Seconds more than its patience that the service may take on a machine with other work.
SLACK = 1.5
POLLING = "/socket.io/?EIO=4&transport=polling"
HOST = "Host: localhost"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service that waits for nobody long."""
    environ = {"FLOW_MANAGER_SOCKETIO_CONNECT_TIMEOUT": str(PATIENCE), "LOG_LEVEL": "INFO"}
    root = tmp_path_factory.mktemp("strangers")
    with Service(root, "process", "python", "", **environ) as running:
        yield running
        assert_clean(running.lines)


@pytest.fixture
def wire(service: Service) -> Iterator[Wire]:
    """A connection of a stranger."""
    with Wire(port_of(service.url)) as opened:
        yield opened


def upgraded(wire: Wire) -> None:
    wire.open()


def polled(wire: Wire) -> None:
    wire.request(HOST, target=POLLING)
    assert wire.answer()[0] == 200


def probed_without_end(wire: Wire) -> None:
    wire.request(HOST, target=POLLING)
    body = wire.answer()[2]
    session = json.loads(body[1:])["sid"]
    wire.request(HOST, target=f"{POLLING}&sid={session}")


def refused_elsewhere(wire: Wire) -> None:
    wire.open().send("40/admin,{}")
    wire.until("44/admin,")


def refused_here(wire: Wire) -> None:
    wire.open().send('40{"token":"wrong"}')
    wire.until("44{")


def half_a_frame(wire: Wire) -> None:
    wire.open().write(frame(TEXT, b"40" + b" " * 1000)[:100])


SILENCES: dict[str, Callable[[Wire], None]] = {
    "nothing at all": lambda _: None,
    "half a head": lambda wire: wire.write(b"GET /health HTTP/1.1\r\nHost: loc"),
    "half a body": lambda wire: wire.request(
        HOST, "Content-Length: 100", target=POLLING + "&sid=x", method="POST"
    ),
    "a chunked body without end": lambda wire: wire.request(
        HOST, "Transfer-Encoding: chunked", target="/health", method="POST"
    ),
    "an upgrade, then silence": upgraded,
    "half a frame": half_a_frame,
    "an open session, polled once": polled,
    "an open session, polled for ever": probed_without_end,
    "a refusal": refused_here,
    "another namespace's refusal": refused_elsewhere,
}


@pytest.mark.parametrize("said", SILENCES)
def test_silent_stranger_is_closed_in_time(wire: Wire, said: str) -> None:
    begun = time.monotonic()
    SILENCES[said](wire)
    wire.ended(PATIENCE + SLACK)
    assert time.monotonic() - begun < PATIENCE + SLACK


CRAWLS = {
    "a head": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 1000,
    "a body": b"POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 5000\r\n\r\n" + b"x" * 1000,
}


@pytest.mark.parametrize("what", CRAWLS)
def test_crawling_stranger_is_closed_in_time(wire: Wire, what: str) -> None:
    begun = time.monotonic()
    wire.socket.settimeout(0.05)
    with suppress(Ended):
        for byte in CRAWLS[what]:
            wire.write(bytes([byte]))
            with suppress(TimeoutError):
                if not wire.socket.recv(1000):
                    break
    assert time.monotonic() - begun < PATIENCE + SLACK


def test_crawling_packets_of_a_stranger_do_not_buy_time(wire: Wire) -> None:
    wire.open()
    begun = time.monotonic()
    with pytest.raises(Ended):
        while time.monotonic() - begun < PATIENCE + SLACK:
            wire.send("3")
            time.sleep(0.02)
    assert time.monotonic() - begun < PATIENCE + SLACK


def test_answer_to_a_stranger_ends_its_connection(wire: Wire) -> None:
    wire.request(HOST, target="/health")
    status, headers, _ = wire.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert wire.ended() < 0.5


@pytest.mark.parametrize(
    "sent",
    [
        frame(BINARY, b"x"),
        frame(TEXT, b"40" + b" " * 20_000),
        frame(TEXT, b"40" + b" " * 1_900_000),
    ],
    ids=["binary", "20 KB", "1.9 MB"],
)
def test_strangers_large_or_binary_packet_ends_the_connection_at_once(
    wire: Wire, sent: bytes
) -> None:
    wire.open()
    with suppress(Ended):
        wire.write(sent)
    assert wire.ended() < PATIENCE / 2


def test_strangers_large_body_is_refused(wire: Wire) -> None:
    wire.request(HOST, target=POLLING)
    session = json.loads(wire.answer()[2][1:])["sid"]
    wire.request(HOST, "Content-Length: 100000", target=f"{POLLING}&sid={session}", method="POST")
    wire.write(b"4" * 20_000)
    assert wire.answer()[0] == 413


def test_polling_client_that_was_let_in_stays(service: Service, wire: Wire) -> None:
    wire.request(HOST, target=POLLING)
    path = f"{POLLING}&sid={json.loads(wire.answer()[2][1:])['sid']}"

    def post(packet: str) -> int:
        wire.request(HOST, f"Content-Length: {len(packet)}", target=path, method="POST")
        wire.write(packet.encode())
        return wire.answer()[0]

    assert post("40" + json.dumps({"token": service.token})) == 200
    wire.request(HOST, target=path)
    assert wire.answer()[0] == 200
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE * 1.5:
        assert post('42["list_containers",{}]') == 200
        wire.request(HOST, target=path)
        assert b"container_list" in wire.answer()[2]
        time.sleep(PATIENCE / 4)


def test_sessions_that_nobody_enters_are_bounded(service: Service) -> None:
    """Each costs memory although its connection has ended."""
    known: list[str] = []
    for _ in range(300):
        with Wire(port_of(service.url)) as opened:
            opened.request(HOST, "Connection: close", target=POLLING)
            known.append(json.loads(opened.answer()[2][1:])["sid"])
    with Wire(port_of(service.url)) as opened:
        opened.request(HOST, target=f"{POLLING}&sid={known[0]}")
        assert opened.answer()[0] == 400


#: Bytes that 3,000 strangers at once may cost the service, which holds 256 (27 MiB when measured).
CROWD_BOUND = 64 * 1024 * 1024
CROWD = 3_000


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process hold a crowd's end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, CROWD + 1000)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.alone
def test_crowd_of_strangers_keeps_no_client_out_and_costs_little(
    service: Service, many_descriptors: None
) -> None:
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    with ExitStack() as crowd, Wire(port_of(service.url)).enter(service.token) as client:
        client.ask("list_containers", {})
        before, told = process.memory_info().rss, len(service.lines)
        quiet = worst_of(client)
        for _ in range(CROWD):
            stranger = crowd.enter_context(Wire(port_of(service.url)))
            with suppress(Ended):
                stranger.request()
        flooded = worst_of(client)
        begun = time.monotonic()
        with Wire(port_of(service.url)).enter(service.token) as other:
            waited = time.monotonic() - begun
            assert other.ask("list_containers", {})["count"] == 0
        grown = process.memory_info().rss - before
        held = len(process.net_connections("tcp"))
    print(f"let in after {waited:.2f} s, {grown >> 10} KiB, {held} held, {quiet=} {flooded=}")
    assert grown < CROWD_BOUND
    assert waited < 10
    assert flooded < 10
    assert len(service.lines) - told < 50


def worst_of(client: Wire) -> float:
    """The longest of some round trips, in seconds."""
    taken = []
    for _ in range(100):
        begun = time.monotonic()
        client.ask("list_containers", {})
        taken.append(time.monotonic() - begun)
    return max(taken)
