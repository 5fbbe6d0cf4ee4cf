"""The example flows do what their first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sdk.tests.sdk_peer import PATIENCE, Peer

SDK = Path(__file__).parent.parent
FLOWS = SDK.parent / "examples" / "flows"

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start(peer: Peer) -> Iterator[Start]:
    started = []

    def run(name: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "FLOW_SOCKET": str(peer.path), "PYTHONPATH": str(SDK)}
        process = subprocess.Popen([sys.executable, str(FLOWS / name)], env=environment)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_echo_answers_with_what_it_was_told(peer: Peer, start: Start) -> None:
    start("echo.py")
    line = peer.accept()
    assert line.ask("echo", [1, "å"])["data"] == [1, "å"]
    assert line.ask("sing")["command"] == "error"


def test_greeter_says_hello_greets_and_crashes(peer: Peer, start: Start) -> None:
    process = start("greeter.py")
    line = peer.accept()
    assert line.receive() == {"command": "hello", "data": {"pid": process.pid}}
    assert line.ask("greet", {"name": "Ada"})["data"] == {"greeting": "Hello, Ada"}
    line.send("crash")
    assert process.wait(PATIENCE) == 3


def test_bare_speaks_the_protocol_without_the_sdk(peer: Peer, start: Start) -> None:
    process = start("bare.py")
    line = peer.accept_bare()
    line.send("note", "no question")
    answer = line.ask("question", {"a": 1}, id="b1")
    assert answer == {"command": "result", "data": {"a": 1}, "reply_to": "b1"}
    line.close()
    assert process.wait(PATIENCE) == 0
