"""What a flow answers to what it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from flow_manager_sdk import Flow, Message
from sdk.tests.sdk_peer import Line, Peer, until

Run = Callable[..., Flow]


def fail(_data: object) -> None:
    raise ValueError("no such thing")


def test_what_a_handler_returns_answers_the_question(peer: Peer, running: Run) -> None:
    running({"greet": lambda data: {"greeting": f"Hello, {data['name']}"}})
    answer = peer.accept().ask("greet", {"name": "Åsa"}, id="q7")
    assert answer == {"command": "result", "data": {"greeting": "Hello, Åsa"}, "reply_to": "q7"}


def test_a_question_is_answered_even_with_nothing(peer: Peer, running: Run) -> None:
    running({"note": lambda _: None})
    assert peer.accept().ask("note") == {"command": "result", "data": None, "reply_to": "q1"}


def test_a_message_without_an_id_is_answered_only_with_something(peer: Peer, running: Run) -> None:
    running({"note": lambda _: None, "tell": lambda data: data})
    line = peer.accept()
    line.send("note", 1)
    line.send("tell", 2)
    assert line.receive() == {"command": "result", "data": 2}
    assert line.is_silent()


def test_a_handler_may_take_the_whole_message(peer: Peer, running: Run) -> None:
    found: list[Message] = []
    running({"whole": lambda _, message: found.append(message)})
    line = peer.accept()
    line.send_body(b'{"command":"whole","data":[1],"id":"a","reply_to":"b","trace":"t"}')
    line.receive()
    (message,) = found
    assert message == Message("whole", [1], "a", "b", {"trace": "t"})


def test_a_second_parameter_with_a_default_is_not_the_message(peer: Peer, running: Run) -> None:
    def times(data: int, by: int = 3) -> int:
        return data * by

    running({"times": times})
    assert peer.accept().ask("times", 5)["data"] == 15


def test_a_handler_that_raises_answers_with_an_error_and_the_flow_goes_on(
    peer: Peer, running: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    running({"fail": fail, "work": lambda _: "done"})
    line = peer.accept()
    assert line.ask("fail", id="q1") == {
        "command": "error",
        "data": {
            "error": True,
            "error_type": "system_error",
            "message": "ValueError: no such thing",
        },
        "reply_to": "q1",
    }
    assert line.ask("work")["data"] == "done"
    assert "ValueError: no such thing" in capsys.readouterr().err


def test_an_unknown_command_is_answered_with_a_validation_error(peer: Peer, running: Run) -> None:
    running()
    answer = peer.accept().ask("dance", id="q2")
    assert (answer["command"], answer["reply_to"]) == ("error", "q2")
    assert answer["data"]["error_type"] == "validation_error"
    assert "dance" in answer["data"]["message"]


def test_an_answer_that_nobody_waits_for_is_not_answered(peer: Peer, running: Run) -> None:
    running()
    line = peer.accept()
    line.send("result", 1, id="x", reply_to="never-asked")
    assert line.is_silent()


@pytest.mark.parametrize(
    "value",
    [{1, 2}, float("nan"), "\ud800", "x" * 2_000_000],
    ids=["set", "nan", "surrogate", "too long"],
)
def test_an_answer_that_cannot_be_sent_is_an_error_answer(
    peer: Peer, running: Run, value: Any
) -> None:
    running({"odd": lambda _: value, "work": lambda _: "done"})
    line = peer.accept()
    assert line.ask("odd")["data"]["error_type"] == "system_error"
    assert line.ask("work")["data"] == "done"


def test_ping_is_answered_also_while_a_handler_runs(peer: Peer, running: Run) -> None:
    go_on = threading.Event()
    running({"long": lambda _: go_on.wait(10)})
    line = peer.accept()
    line.send("long", id="q1")
    assert line.ask("ping", id="p1") == {"command": "pong", "data": None, "reply_to": "p1"}
    go_on.set()
    assert line.receive()["reply_to"] == "q1"


def test_a_flow_whose_handlers_do_not_keep_up_gives_signs_of_life_unasked(
    peer: Peer, running: Run
) -> None:
    go_on = threading.Event()
    running({"long": lambda data: go_on.wait(10) and data})
    line = peer.accept()
    for number in range(40):
        line.send("long", number)
    for _ in range(2):
        assert line.receive() == {"command": "pong", "data": None}
    go_on.set()
    answers = [line.receive()["data"] for _ in range(40)]
    assert answers == list(range(40))


@pytest.mark.parametrize("handled", [True, False])
def test_the_managers_error_is_handed_over_and_never_answered(
    peer: Peer, running: Run, handled: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[object] = []

    def take(data: object) -> str:
        found.append(data)
        raise RuntimeError("even so")

    running({"error": take} if handled else {})
    line = peer.accept()
    line.send("error", {"error": True, "message": "bad frame"}, id="e1")
    assert line.is_silent()
    assert bool(found) == handled
    assert ("even so" if handled else "bad frame") in capsys.readouterr().err


def test_handlers_run_one_at_a_time_and_in_order(peer: Peer, running: Run) -> None:
    at_once = []
    inside = threading.Lock()

    def note(data: int) -> int:
        at_once.append(inside.acquire(blocking=False))
        time.sleep(0.001)
        inside.release()
        return data

    running({"note": note})
    line = peer.accept()
    for number in range(100):
        line.send("note", number, id=str(number))
    assert [line.receive()["data"] for _ in range(100)] == list(range(100))
    assert all(at_once)


def test_workers_run_handlers_at_the_same_time(peer: Peer, running: Run) -> None:
    together = threading.Barrier(3, timeout=10)
    running({"meet": lambda _: together.wait() >= 0}, workers=3)
    line = peer.accept()
    for number in range(3):
        line.send("meet", id=str(number))
    assert {line.receive()["reply_to"] for _ in range(3)} == {"0", "1", "2"}


def test_a_flow_that_is_busy_reads_no_more_than_it_can_keep(peer: Peer, running: Run) -> None:
    go_on = threading.Event()
    running({"wait": lambda data: go_on.wait(10) and len(data)})
    line = peer.accept()
    line.socket.settimeout(0.3)
    sent = 0
    with pytest.raises(TimeoutError):
        while True:
            line.send("wait", "x" * 100_000)
            sent += 1
    assert sent < 30
    go_on.set()
    assert line.receive()["data"] == 100_000


def test_frames_may_come_in_any_pieces(peer: Peer, running: Run) -> None:
    running({"echo": lambda data: data})
    line = peer.accept()
    body = b'{"command":"echo","data":"in pieces","id":"1"}'
    frame = len(body).to_bytes(4, "big") + body
    for byte in frame:
        line.socket.sendall(bytes([byte]))
    assert line.receive()["data"] == "in pieces"
    line.socket.sendall(frame * 3 + frame[:9])
    line.socket.sendall(frame[9:])
    assert [line.receive()["data"] for _ in range(4)] == ["in pieces"] * 4


def test_a_frame_of_the_whole_limit_passes_in_both_directions(peer: Peer, running: Run) -> None:
    running({"echo": lambda data: data})
    line = peer.accept()
    data = "x" * (1024 * 1024 - 60)
    assert line.ask("echo", data)["data"] == data


def test_a_bad_frame_is_told_and_the_next_one_handled(
    peer: Peer, running: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    running({"echo": lambda data: data})
    line = peer.accept()
    for body in (b"", b"\xff", b"{", b"[]", b'{"command":7}', b"[" * 100_000):
        line.send_body(body)
    assert line.ask("echo", 1)["data"] == 1
    assert capsys.readouterr().err.count("flow_manager_sdk: A frame") == 6


def test_a_frame_over_the_limit_ends_the_connection_and_the_flow_comes_back(
    peer: Peer, running: Run
) -> None:
    running({"echo": lambda data: data})
    line = peer.accept()
    assert line.ask("echo", "before")["data"] == "before"
    line.socket.sendall(b"\xff\xff\xff\xff")
    assert line.is_over()
    assert peer.accept().ask("echo", "after")["data"] == "after"


def bad_handlers() -> list[tuple[str, Callable[..., Any], type[Exception]]]:
    async def coroutine(data: object) -> None: ...

    return [
        ("ping", lambda _: None, ValueError),
        ("taken", lambda _: None, ValueError),
        ("none", lambda: None, TypeError),
        ("three", lambda _a, _b, _c: None, TypeError),
        ("coroutine", coroutine, TypeError),
    ]


@pytest.mark.parametrize(("command", "handler", "error"), bad_handlers())
def test_a_handler_that_could_never_work_is_refused_at_once(
    peer: Peer, command: str, handler: Callable[..., Any], error: type[Exception]
) -> None:
    flow = Flow(str(peer.path))
    flow.on("taken")(lambda _: None)
    with pytest.raises(error):
        flow.on(command)(handler)


def test_registering_leaves_the_function_as_it_was(peer: Peer) -> None:
    flow = Flow(str(peer.path))
    assert flow.on("fail")(fail) is fail
    assert flow.on_connected(fail) is fail


def hello(line: Line) -> None:
    assert line.receive() == {"command": "hello", "data": None}


def test_on_connected_is_called_after_each_connect(
    peer: Peer, running: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = Flow(str(peer.path))

    @flow.on_connected
    def greet() -> None:
        flow.send("hello")

    @flow.on_connected
    def stumble() -> None:
        raise RuntimeError("stumbled")

    thread = threading.Thread(target=flow.run)
    thread.start()
    try:
        for _ in range(3):
            line = peer.accept()
            hello(line)
            line.close()
        until(lambda: "stumbled" in capsys.readouterr().err)
    finally:
        flow.stop()
        thread.join(10)
