"""A flow whose manager is at a TCP address shows its secret, and only then is connected."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flow_manager_sdk import Channel, Flow, FlowError, NoSocket, NotConnected
from sdk.tests.sdk_peer import PATIENCE, Line, Peer, until

SDK = Path(__file__).parent.parent
SECRET = "the-secret-of-this-flow"
REFUSAL = {"error": True, "error_type": "socket_error", "message": "The secret is wrong"}


class TcpPeer(Peer):
    """A manager at a TCP address; it keeps its port when it listens again."""

    def __init__(self) -> None:
        self.port = 0
        super().__init__(Path("unused"))

    def listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def accept_bare(self) -> Line:
        line = self.accept_unasked()
        assert line.receive() == {"command": "auth", "data": {"secret": SECRET}}
        line.send("welcome")
        return line

    def accept_unasked(self) -> Line:
        """Let a program in that has not shown its secret."""
        return super().accept_bare()


@pytest.fixture
def tcp_peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[TcpPeer]:
    peer = TcpPeer()
    monkeypatch.setenv("FLOW_SOCKET", peer.url)
    monkeypatch.setenv("FLOW_SECRET", SECRET)
    yield peer
    peer.close()


@pytest.fixture
def start(tcp_peer: TcpPeer) -> Iterator[Callable[[], Flow]]:
    """Run a flow in a thread."""
    started = []

    def run() -> Flow:
        flow = Flow()
        flow.on("echo")(lambda data: data)
        thread = threading.Thread(target=flow.run)
        started.append((flow, thread))
        thread.start()
        return flow

    yield run
    for flow, thread in started:
        flow.stop()
        thread.join(10)
        assert not thread.is_alive()


def in_background(action: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(action())
        except FlowError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_a_flow_shows_its_secret_on_every_connection(
    tcp_peer: TcpPeer, start: Callable[[], Flow]
) -> None:
    start()
    for number in range(3):
        line = tcp_peer.accept()
        assert line.ask("echo", number)["data"] == number
        line.close()


def test_a_flow_finds_a_manager_that_was_away(tcp_peer: TcpPeer, start: Callable[[], Flow]) -> None:
    tcp_peer.close()
    start()
    time.sleep(0.3)
    tcp_peer.listen()
    assert tcp_peer.accept().ask("echo", 1)["data"] == 1


def test_what_is_said_before_the_welcome_waits_for_it(
    tcp_peer: TcpPeer, start: Callable[[], Flow]
) -> None:
    flow = start()
    refused = tcp_peer.accept_unasked()
    thread, found = in_background(lambda: flow.send("word", 1))
    assert refused.receive()["command"] == "auth"
    assert refused.is_silent()
    refused.send("error", REFUSAL)
    refused.close()
    line = tcp_peer.accept()
    assert line.receive() == {"command": "word", "data": 1}
    thread.join(10)
    assert found == [None]


def test_on_connected_is_not_called_for_a_connection_that_was_refused(
    tcp_peer: TcpPeer, start: Callable[[], Flow]
) -> None:
    called = []
    flow = start()
    flow.on_connected(lambda: called.append(1))
    for _ in range(3):
        line = tcp_peer.accept_unasked()
        line.receive()
        line.send("error", REFUSAL)
        assert line.is_over()
        line.close()
    assert called == []
    tcp_peer.accept()
    until(lambda: called == [1])


def test_a_lasting_refusal_is_told_once_with_its_reason_and_without_the_secret(
    tcp_peer: TcpPeer, start: Callable[[], Flow], capsys: pytest.CaptureFixture[str]
) -> None:
    start()
    for _ in range(9):
        line = tcp_peer.accept_unasked()
        line.receive()
        line.send("error", REFUSAL)
        line.close()
    told = capsys.readouterr().err
    assert told.count("refuses: The secret is wrong") == 1
    assert SECRET not in told


def test_what_comes_in_one_piece_with_the_welcome_is_heard(tcp_peer: TcpPeer) -> None:
    thread, found = in_background(lambda: Channel().connect())
    line = tcp_peer.accept_unasked()
    line.receive()
    frames = (b'{"command":"welcome","data":null}', b'{"command":"one"}', b'{"command":"two"}')
    line.socket.sendall(b"".join(len(body).to_bytes(4, "big") + body for body in frames))
    thread.join(10)
    with found[0] as channel:
        assert [channel.receive(timeout=5).command for _ in range(2)] == ["one", "two"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "ended the connection"),
        (b"\0\0\0\2{}", "no object with a text"),
        (b"\xff\xff\xff\xff", "over the limit"),
        (b'\0\0\0\x14{"command": "hello"}', "refuses: hello"),
    ],
)
def test_a_stranger_at_the_address_is_not_taken_for_the_manager(
    tcp_peer: TcpPeer, answer: bytes, told: str
) -> None:
    thread, found = in_background(lambda: Channel().connect())
    line = tcp_peer.accept_unasked()
    line.receive()
    line.socket.sendall(answer)
    line.close()
    thread.join(10)
    assert isinstance(found[0], NotConnected)
    assert told in str(found[0])


def test_a_manager_that_says_nothing_is_given_up(
    tcp_peer: TcpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flow_manager_sdk.channel.TCP_TIMEOUT", 0.2)
    with pytest.raises(NotConnected, match="No flow manager answers"):
        Channel().connect()


def test_address_and_secret_may_be_given_in_code(
    tcp_peer: TcpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLOW_SOCKET", "FLOW_SECRET"):
        monkeypatch.delenv(name)
    thread, found = in_background(lambda: Channel(tcp_peer.url, secret=SECRET).connect())
    tcp_peer.accept_bare()
    thread.join(10)
    found[0].close()
    flow = Flow(tcp_peer.url, secret=SECRET)
    flow.on_connected(flow.stop)
    thread, found = in_background(flow.run)
    tcp_peer.accept_bare().take_greeting()
    thread.join(10)
    assert found == [None]


@pytest.mark.parametrize("make", [Flow, Channel])
def test_without_a_secret_the_reason_is_told_at_once(
    tcp_peer: TcpPeer, monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]
) -> None:
    monkeypatch.delenv("FLOW_SECRET")
    with pytest.raises(NoSocket, match="FLOW_SECRET is not set"):
        make()


@pytest.mark.parametrize("make", [Flow, Channel])
@pytest.mark.parametrize(
    "url", ["tcp://", "tcp://host", "tcp://:1", "tcp://host:x", "tcp://host:70000", "tcp://[::1:2"]
)
def test_an_address_that_cannot_be_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., object], url: str
) -> None:
    with pytest.raises(NoSocket, match="no address"):
        make(url, secret=SECRET)


def test_an_ipv6_address_is_dialled() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        url = f"tcp://[::1]:{listener.getsockname()[1]}"
        thread, found = in_background(lambda: Channel(url, secret=SECRET).connect())
        connection, _ = listener.accept()
        line = Line(connection)
        line.receive()
        line.send("welcome")
        thread.join(10)
        found[0].close()
        line.close()


def test_a_program_that_tcp_connects_to_itself_is_not_connected() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = socket.socket

    class Unlucky(ours):  # type: ignore[misc, valid-type]
        """Gets the port that it dials."""

        def connect(self, address: Any) -> None:
            self.bind(address)
            super().connect(address)

    socket.socket = Unlucky  # type: ignore[misc]
    try:
        with pytest.raises(NotConnected, match="nobody listens"):
            Channel(f"tcp://127.0.0.1:{port}", secret=SECRET).connect()
    finally:
        socket.socket = ours  # type: ignore[misc]


def test_a_signal_ends_a_flow_though_its_manager_says_nothing(tcp_peer: TcpPeer) -> None:
    program = "from flow_manager_sdk import Flow; Flow().run(); print('returned', flush=True)"
    environment = {**os.environ, "PYTHONPATH": str(SDK)}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, text=True, stdout=subprocess.PIPE
    ) as process:
        try:
            tcp_peer.accept_unasked().receive()
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=PATIENCE)[0] == "returned\n"
            assert time.monotonic() - began < 6
        finally:
            process.kill()
