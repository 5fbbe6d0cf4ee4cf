"""How a flow begins, survives breaks, and ends."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flow_manager_sdk import BadFrame, Channel, Flow, NoSocket, NotConnected
from sdk.tests.sdk_peer import PATIENCE, Peer, until

Run = Callable[..., Flow]
SDK = Path(__file__).parent.parent

PROGRAM = """
import sys, time, threading
from flow_manager_sdk import Flow

flow = Flow(workers=int(sys.argv[1]))

@flow.on("work")
def work(seconds):
    flow.send("begun")
    time.sleep(seconds)
    return "done"

@flow.on("leave")
def leave(code):
    sys.exit(code)

@flow.on("threads")
def threads(data):
    return threading.current_thread() is threading.main_thread()

flow.run()
print("returned", flush=True)
"""


@contextmanager
def program(
    peer: Peer, *, workers: int = 1, python: str = sys.executable
) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "FLOW_SOCKET": str(peer.path), "PYTHONPATH": str(SDK)}
    command = [python, "-c", PROGRAM, str(workers)]
    with subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def output(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=PATIENCE)[0]


def test_without_a_socket_in_the_environment_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FLOW_SOCKET", "SOCKET_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoSocket, match="FLOW_SOCKET"):
        Flow()


@pytest.mark.parametrize("name", ["FLOW_SOCKET", "SOCKET_PATH"])
def test_either_variable_names_the_socket(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in ("FLOW_SOCKET", "SOCKET_PATH"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, str(peer.path))
    with Channel().connect():
        peer.accept_bare()


def test_a_flow_that_is_there_first_gets_in_once_the_manager_listens(
    peer: Peer, running: Run
) -> None:
    peer.close()
    peer.path.unlink()
    running({"echo": lambda data: data})
    time.sleep(0.3)
    peer.listen()
    assert peer.accept().ask("echo", 1)["data"] == 1


def test_a_flow_connects_again_after_each_break(peer: Peer, running: Run) -> None:
    running({"echo": lambda data: data})
    for number in range(5):
        line = peer.accept()
        assert line.ask("echo", number)["data"] == number
        line.close()


def test_the_greeting_comes_first_on_every_connection(peer: Peer) -> None:
    flow = Flow(str(peer.path))
    flow.on_connected(lambda: flow.send("ready"))
    thread = threading.Thread(target=flow.run)
    thread.start()
    for _ in range(3):
        line = peer.accept_bare()
        line.take_greeting()
        assert line.receive()["command"] == "ready"
        line.close()
    flow.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_ping_that_cannot_be_answered_does_not_delay_the_next_connection(
    peer: Peer, running: Run
) -> None:
    running()
    line = peer.accept()
    begun = time.monotonic()
    for number in range(100):
        line.send("ping", id=f"p{number}")
    line.close()
    peer.accept()
    assert time.monotonic() - begun < 2


def test_the_first_new_try_comes_fast_and_the_tries_grow_rare(peer: Peer, running: Run) -> None:
    running()
    peer.accept().close()
    begun = time.monotonic()
    for _ in range(8):
        peer.accept().close()
    assert 0.5 < time.monotonic() - begun < PATIENCE


def test_a_lasting_outage_is_told_once(
    peer: Peer, running: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.close()
    running()
    told: list[str] = []

    def heard() -> bool:
        told.append(capsys.readouterr().err)
        return "Cannot connect" in told[-1]

    until(heard)
    time.sleep(1.5)
    assert "Cannot connect" not in capsys.readouterr().err


def test_a_message_waits_for_the_connection(peer: Peer, running: Run) -> None:
    flow = running()
    peer.accept().close()
    sender = threading.Thread(target=flow.send, args=("later", 1))
    sender.start()
    line = peer.accept()
    assert line.receive() == {"command": "later", "data": 1}
    sender.join(10)


def test_a_message_that_finds_no_connection_in_time_raises(peer: Peer) -> None:
    flow = Flow(str(peer.path))
    with pytest.raises(NotConnected, match=r"flow\.sock"):
        flow.send("lost", timeout=0.05)


def test_messages_from_many_threads_arrive_whole(peer: Peer, running: Run) -> None:
    flow = running()
    line = peer.accept()

    def talk(number: int) -> None:
        for _ in range(50):
            flow.send("part", str(number) * 5000)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    texts = [line.receive()["data"] for _ in range(200)]
    for thread in threads:
        thread.join(10)
    assert {len(set(text)) for text in texts} == {1}


def test_the_ids_of_a_message_are_sent_along(peer: Peer, running: Run) -> None:
    flow = running()
    line = peer.accept()
    flow.send("ask", {"a": 1}, id="f1", reply_to="q1")
    assert line.receive() == {"command": "ask", "data": {"a": 1}, "id": "f1", "reply_to": "q1"}


def test_what_cannot_be_sent_is_refused_before_it_is_sent(peer: Peer, running: Run) -> None:
    flow = running()
    peer.accept()
    with pytest.raises(BadFrame, match="over the limit"):
        flow.send("large", "x" * 1024 * 1024)
    with pytest.raises(BadFrame, match="JSON"):
        flow.send("odd", object())


def test_a_flow_can_run_again(peer: Peer) -> None:
    flow = Flow(str(peer.path))
    flow.on("end")(lambda _: flow.stop())
    for _ in range(2):
        thread = threading.Thread(target=flow.run)
        thread.start()
        line = peer.accept()
        assert line.ask("end")["reply_to"] == "q1"
        thread.join(10)
        assert not thread.is_alive()
        assert line.is_over()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_ends_an_idle_flow_at_once(peer: Peer, number: signal.Signals) -> None:
    with program(peer) as process:
        peer.accept().ask("work", 0)
        begun = time.monotonic()
        process.send_signal(number)
        assert output(process) == "returned\n"
        assert process.returncode == 0
        assert time.monotonic() - begun < 2


def test_a_signal_ends_a_flow_that_has_no_connection(peer: Peer) -> None:
    with program(peer) as process:
        peer.accept().ask("work", 0)
        peer.close()
        process.send_signal(signal.SIGTERM)
        assert output(process) == "returned\n"


@pytest.mark.parametrize("workers", [1, 3])
def test_a_signal_lets_the_running_handler_finish_and_answer(peer: Peer, workers: int) -> None:
    with program(peer, workers=workers) as process:
        line = peer.accept()
        line.send("work", 0.5, id="w1")
        assert line.receive()["command"] == "begun"
        process.send_signal(signal.SIGTERM)
        assert line.receive() == {"command": "result", "data": "done", "reply_to": "w1"}
        assert line.is_over()
        assert output(process) == "returned\n"


def test_a_second_signal_does_what_it_does_without_a_flow(peer: Peer) -> None:
    with program(peer) as process:
        line = peer.accept()
        line.send("work", 30)
        assert line.receive()["command"] == "begun"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        output(process)
        assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize("workers", [1, 3])
def test_sys_exit_in_a_handler_ends_the_program_with_its_code(peer: Peer, workers: int) -> None:
    with program(peer, workers=workers) as process:
        peer.accept().send("leave", 7)
        assert output(process) == ""
        assert process.returncode == 7


def test_handlers_run_in_the_thread_that_called_run(peer: Peer) -> None:
    with program(peer):
        assert peer.accept().ask("threads")["data"] is True


def test_signals_are_given_back_after_the_run(peer: Peer) -> None:
    before = signal.getsignal(signal.SIGTERM)
    flow = Flow(str(peer.path))
    flow.on_connected(flow.stop)
    flow.run()
    assert signal.getsignal(signal.SIGTERM) == before
    peer.accept()


def test_a_flow_leaves_no_thread_and_no_descriptor(peer: Peer) -> None:
    flow = Flow(str(peer.path), workers=3)
    flow.on_connected(flow.stop)
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    for _ in range(20):
        flow.run()
        peer.accept().close()
    peer.lines.clear()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def test_a_bare_channel_sends_and_receives(peer: Peer) -> None:
    with Channel(str(peer.path)).connect() as channel:
        line = peer.accept_bare()
        channel.send("hello", [1], id="c1")
        assert line.receive() == {"command": "hello", "data": [1], "id": "c1"}
        with pytest.raises(TimeoutError):
            channel.receive(timeout=0.05)
        line.send("one")
        line.send("two")
        assert [channel.receive(timeout=5).command for _ in range(2)] == ["one", "two"]
        line.close()
        with pytest.raises(NotConnected):
            channel.receive(timeout=5)


def test_a_bare_channel_that_is_closed_says_so(peer: Peer) -> None:
    channel = Channel(str(peer.path)).connect()
    channel.close()
    channel.close()
    with pytest.raises(NotConnected):
        channel.send("late")
    with pytest.raises(NotConnected):
        channel.receive()


def test_ending_a_channel_frees_the_thread_that_receives(peer: Peer) -> None:
    channel = Channel(str(peer.path)).connect()
    failed: list[NotConnected] = []

    def wait() -> None:
        try:
            channel.receive()
        except NotConnected as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    peer.accept_bare()
    time.sleep(0.05)
    channel.end()
    thread.join(10)
    assert failed
    channel.close()


def test_a_channel_that_finds_nobody_says_where(tmp_path: Path) -> None:
    with pytest.raises(NotConnected, match="nobody"):
        Channel(str(tmp_path / "nobody.sock")).connect()


def test_a_manager_that_does_not_read_is_given_up_not_waited_for_forever(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flow_manager_sdk.channel.SEND_TIMEOUT", 0.2)
    with Channel(str(peer.path)).connect() as channel:
        peer.accept_bare()
        with pytest.raises(NotConnected):
            for _ in range(100):
                channel.send("flood", "x" * 500_000)


def test_the_sources_are_python_3_8() -> None:
    for source in (SDK / "flow_manager_sdk").glob("*.py"):
        ast.parse(source.read_text(), feature_version=(3, 8))


def pythons() -> list[str]:
    """All interpreters from 3.8 on that are installed and start."""

    def starts(path: str) -> bool:
        return subprocess.run([path, "-V"], check=False, capture_output=True).returncode == 0

    found = [shutil.which(f"python3.{minor}") for minor in range(8, 20)]
    return [path for path in found if path and starts(path)] or [sys.executable]


def test_a_flow_runs_on_every_python_that_is_here(peer: Peer) -> None:
    for python in pythons():
        with program(peer, python=python) as process:
            assert peer.accept().ask("threads")["data"] is True
            process.send_signal(signal.SIGTERM)
            assert output(process) == "returned\n"
