"""What is durable is handled once by a process, acknowledged after that, and sent until stored."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow_manager_sdk import BadFrame, Flow, NotConnected, SpoolFault
from sdk.tests.sdk_peer import Line, Peer, until

Run = Callable[..., Flow]
EPOCH = "e1"


@pytest.fixture(autouse=True)
def last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits at its end for what it leaves behind."""
    monkeypatch.setattr("flow_manager_sdk.flow.LAST_WORDS", 0.0)


def welcomed(peer: Peer, stored: int = 0, window: int = 100, epoch: str = EPOCH) -> Line:
    line = peer.accept()
    line.send("welcome", {"protocol": 2, "epoch": epoch, "stored": stored, "window": window})
    return line


def acknowledged(seq: int, epoch: str = EPOCH) -> dict[str, Any]:
    return {"command": "ack", "data": {"epoch": epoch, "seq": seq}}


def stores(line: Line, seq: int) -> None:
    line.send("ack", {"source": line.durable["source"], "seq": seq})


def said(line: Line) -> tuple[int, Any]:
    frame = line.receive()
    return frame["seq"], frame["data"]


def test_a_durable_message_is_acknowledged_after_its_handler_returned(
    peer: Peer, running: Run
) -> None:
    let = threading.Event()
    running({"work": lambda _: let.wait(10) and None})
    line = welcomed(peer)
    line.send("work", seq=4)
    assert line.is_silent()
    let.set()
    assert line.receive() == acknowledged(4)


def test_the_answer_to_a_durable_question_comes_before_its_acknowledgement(
    peer: Peer, running: Run
) -> None:
    running({"work": lambda data: data + 1})
    line = welcomed(peer)
    line.send("work", 1, id="q", seq=4)
    assert line.receive() == {"command": "result", "data": 2, "reply_to": "q"}
    assert line.receive() == acknowledged(4)


def test_a_handler_that_raises_has_dealt_with_its_message(peer: Peer, running: Run) -> None:
    running({"work": lambda data: 1 / data})
    line = welcomed(peer)
    line.send("work", 0, seq=4)
    assert line.receive()["command"] == "error"
    assert line.receive() == acknowledged(4)


def test_a_repeat_is_hidden_and_acknowledged_again(peer: Peer, running: Run) -> None:
    seen: list[Any] = []
    running({"work": seen.append})
    line = welcomed(peer)
    line.send("work", "a", seq=4)
    assert line.receive() == acknowledged(4)
    line.close()
    line = welcomed(peer)
    assert (line.durable["epoch"], line.durable["seen"]) == (EPOCH, 4)
    line.send("work", "a", seq=4)
    assert line.receive() == acknowledged(4)
    line.send("work", "b", seq=7)
    assert line.receive() == acknowledged(7)
    assert seen == ["a", "b"]


def test_what_is_handled_while_the_connection_breaks_is_acknowledged_over_the_next(
    peer: Peer, running: Run
) -> None:
    let, seen = threading.Event(), []

    def work(data: Any) -> None:
        seen.append(data)
        let.wait(10)

    running({"work": work})
    line = welcomed(peer)
    line.send("work", "a", seq=1)
    until(lambda: seen)
    line.close()
    line = welcomed(peer)
    line.send("work", "a", seq=1)
    line.send("work", "b", seq=2)
    let.set()
    last = line.receive()
    while last != acknowledged(2):
        last = line.receive()
    assert seen == ["a", "b"]


def test_another_journal_of_the_manager_begins_anew(peer: Peer, running: Run) -> None:
    seen: list[Any] = []
    running({"work": seen.append})
    line = welcomed(peer)
    line.send("work", "a", seq=4)
    assert line.receive() == acknowledged(4)
    line.close()
    line = welcomed(peer, epoch="e2")
    line.send("work", "b", seq=1)
    assert line.receive() == acknowledged(1, "e2")
    assert seen == ["a", "b"]


def test_several_workers_acknowledge_no_message_before_all_earlier_ones(
    peer: Peer, running: Run
) -> None:
    let = threading.Event()
    running({"slow": lambda _: let.wait(10) and None, "quick": lambda _: None}, workers=2)
    line = welcomed(peer)
    line.send("slow", seq=1)
    line.send("quick", seq=2)
    line.send("quick", seq=3)
    assert line.is_silent()
    let.set()
    assert line.receive() == acknowledged(3)


def test_without_a_welcome_a_number_means_nothing(peer: Peer, running: Run) -> None:
    seen: list[Any] = []
    running({"work": seen.append})
    line = peer.accept()
    line.send("work", "a", seq=4)
    line.send("work", "a", seq=4)
    until(lambda: seen == ["a", "a"])
    assert line.is_silent()


def test_durable_messages_are_numbered_and_sent_in_order(peer: Peer, running: Run) -> None:
    flow = running()
    for number in range(5):
        flow.send("said", number, durable=True)
    line = welcomed(peer)
    assert [said(line) for _ in range(5)] == [(n + 1, n) for n in range(5)]
    assert not flow.flush(0)
    stores(line, 5)
    assert flow.flush(10)


def test_what_was_not_stored_is_sent_again_after_a_break(peer: Peer, running: Run) -> None:
    flow = running()
    for number in range(4):
        flow.send("said", number, durable=True)
    line = welcomed(peer)
    assert [said(line)[0] for _ in range(4)] == [1, 2, 3, 4]
    line.close()
    line = welcomed(peer, stored=2)
    assert [said(line) for _ in range(2)] == [(3, 2), (4, 3)]


def test_no_more_than_the_window_is_under_way(peer: Peer, running: Run) -> None:
    flow = running()
    for number in range(5):
        flow.send("said", number, durable=True)
    line = welcomed(peer, window=2)
    assert [said(line)[0] for _ in range(2)] == [1, 2]
    assert line.is_silent()
    stores(line, 1)
    assert said(line)[0] == 3
    assert line.is_silent()


def test_a_manager_that_lost_what_it_stored_gets_a_new_numbering(peer: Peer, running: Run) -> None:
    flow = running()
    flow.send("said", "stored", durable=True)
    flow.send("said", "waiting", durable=True)
    line = welcomed(peer)
    assert [said(line)[0] for _ in range(2)] == [1, 2]
    stores(line, 1)
    before = line.durable["source"]
    until(lambda: not flow.flush(0) and len(flow._durable.outgoing._pending) == 1)
    line.close()
    assert welcomed(peer, stored=0, epoch="e2").durable["source"] == before
    line = welcomed(peer, stored=0, epoch="e2")
    assert line.durable["source"] != before
    assert said(line) == (1, "waiting")


def test_too_many_waiting_messages_are_refused_in_time(
    peer: Peer, running: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flow_manager_sdk.outgoing.MOST", 2)
    flow = running()
    flow.send("said", 1, durable=True)
    flow.send("said", 2, durable=True)
    with pytest.raises(NotConnected, match="wait for the manager to store them"):
        flow.send("said", 3, durable=True, timeout=0.1)
    line = welcomed(peer)
    assert [said(line)[1] for _ in range(2)] == [1, 2]
    stores(line, 1)
    flow.send("said", 3, durable=True)
    assert said(line) == (3, 3)


def test_a_durable_message_over_the_limit_is_refused_and_not_kept(peer: Peer, running: Run) -> None:
    flow = running(limit=200)
    with pytest.raises(BadFrame):
        flow.send("said", "x" * 200, durable=True)
    flow.send("said", 1, durable=True)
    assert said(welcomed(peer)) == (1, 1)


def test_a_spool_brings_what_was_not_stored_into_the_next_life(
    peer: Peer, running: Run, tmp_path: Path
) -> None:
    path = str(tmp_path / "spool")
    dead = Flow(str(peer.path), spool=path)
    for number in range(3):
        dead.send("said", number, durable=True)
    dead.close()
    flow = running(spool=path)
    assert flow.sent == 3
    flow.send("said", 3, durable=True)
    line = welcomed(peer, stored=1)
    assert [said(line) for _ in range(3)] == [(2, 1), (3, 2), (4, 3)]


def test_a_spool_hides_repeats_from_the_next_life(peer: Peer, running: Run, tmp_path: Path) -> None:
    path, seen = str(tmp_path / "spool"), []
    flow = running({"work": seen.append}, spool=path)
    line = welcomed(peer)
    line.send("work", "a", seq=4)
    assert line.receive() == acknowledged(4)
    flow.stop()
    assert line.is_over()
    line.close()
    running({"work": seen.append}, spool=path)
    line = welcomed(peer)
    assert (line.durable["epoch"], line.durable["seen"]) == (EPOCH, 4)
    line.send("work", "a", seq=4)
    assert line.receive() == acknowledged(4)
    assert seen == ["a"]


def test_a_spool_that_cannot_be_used_is_named(peer: Peer, tmp_path: Path) -> None:
    with pytest.raises(SpoolFault, match="no-folder"):
        Flow(str(peer.path), spool=str(tmp_path / "no-folder" / "spool"))


def test_what_the_spool_does_not_take_is_not_promised(peer: Peer, tmp_path: Path) -> None:
    path = str(tmp_path / "spool")
    flow = Flow(str(peer.path), spool=path)
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE outgoing")
    other.close()
    with pytest.raises(SpoolFault, match="outgoing"):
        flow.send("said", 1, durable=True)
    assert flow.flush(0)
    flow.close()


def test_what_waits_is_stored_before_an_orderly_end(
    peer: Peer, running: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flow_manager_sdk.flow.LAST_WORDS", 10.0)
    flow = running()
    line = welcomed(peer)
    until(lambda: flow._link.connected)
    flow.send("said", 1, durable=True)
    flow.stop()
    assert said(line) == (1, 1)
    assert line.is_silent()
    stores(line, 1)
    assert line.is_over()
