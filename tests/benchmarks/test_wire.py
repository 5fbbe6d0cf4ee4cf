"""The benchmarks of the wire: they measure what they say, beside references that really work."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from benchmarks import fan_out, one_way, round_trip, slow_client
from benchmarks.alternation import alternate
from benchmarks.contestants import Contestant, bare_echo, bare_relay, load
from tests.support.leaks import Census
from tests.support.socketio_wire import Wire

pytestmark = pytest.mark.alone

MODULES = [fan_out, one_way, round_trip, slow_client]
#: So much that a WebSocket frame tells its length in eight bytes, and comes in pieces.
LARGE = "x" * 300_000
#: Seconds that a server may take for an answer.
PATIENCE = 60.0


@pytest.fixture(scope="module")
def relay() -> Iterator[Contestant]:
    with bare_relay() as running:
        yield running


@pytest.fixture(scope="module")
def echo() -> Iterator[Contestant]:
    with bare_echo() as running:
        yield running


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_row_has_a_figure_of_ours_and_of_theirs_for_each_round(module: ModuleType) -> None:
    rows = list(module.rows(1, True))
    assert len({(row.name, row.beside) for row in rows}) == len(rows) > 1
    for row in rows:
        assert len(row.ours) == len(row.theirs) == 1
        assert row.verdict > 0
        assert row.beside and row.unit and row.limits


def test_targets_are_those_of_50_clients() -> None:
    found = {"rate": [1.0], "p99": [1.0], "cpu": [1.0]}
    servers = dict.fromkeys(["ours", "relay", "echo"], found)
    targets = [(row.beside, row.target, row.at_least) for row in round_trip.rows_of(50, servers)]
    assert [target for target in targets if target[1]] == [
        ("bare relay", 0.9, True),
        ("bare relay", 1.2, False),
        ("bare echo", 0.8, True),
    ]
    assert not any(row.target or row.stretch for row in round_trip.rows_of(10, servers))


def test_answers_by_acknowledgement_alone_have_rows_of_their_own_where_there_are_any() -> None:
    found = {"rate": [1.0], "p99": [1.0], "cpu": [1.0]}
    servers = dict.fromkeys(["ours", "relay", "echo"], found)
    default = list(round_trip.rows_of(50, servers))
    better = {**found, "rate": [2.0]}
    rows = list(round_trip.rows_of(50, {**servers, "acknowledged": better}))
    assert rows[: len(default)] == default
    assert [(row.beside, row.verdict) for row in rows[len(default) :] if row.at_least] == [
        ("bare relay", 2.0),
        ("bare echo", 2.0),
    ]


def test_the_bare_relays_answer_is_the_flows(relay: Contestant) -> None:
    with entered(relay) as wire:
        answer = wire.ask("send_message", relay.question("hello"))
    assert answer.pop("reply_to")
    assert answer == {"command": "answer", "data": "hello"}


def test_the_bare_relay_tells_every_client_what_the_flow_says(relay: Contestant) -> None:
    with entered(relay) as asking, entered(relay) as other:
        asking.ask("send_message", relay.order("burst", {"count": 2, "size": 3}))
        for wire in (asking, other):
            for _ in range(2):
                told = wire.until('42["message_received"')
                assert '"data":"xxx"' in told


def test_the_bare_echos_answer_is_the_question(echo: Contestant) -> None:
    with entered(echo) as wire:
        answer = wire.ask("send_message", echo.question("hello"))
    assert answer == {"command": "echo", "data": "hello"}


@pytest.mark.parametrize("of", ["relay", "echo"])
def test_the_load_gets_large_answers_whole(of: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(of)
    found = round_trips(server, LARGE, mark=LARGE)
    assert found["count"] > 1
    assert 0 < found["median"] <= found["p99"]


def test_the_load_takes_nothing_for_an_answer_that_is_none(echo: Contestant) -> None:
    with pytest.raises(RuntimeError, match="has ended"):
        round_trips(echo, "hello", mark="goodbye")


def test_servers_and_their_flows_end_with_the_measurement_even_if_it_fails(
    no_leaks: Census,
) -> None:
    with pytest.raises(ZeroDivisionError), bare_relay() as relay, load(relay, 2):
        assert 1 / 0


def test_what_is_measured_takes_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []

    def measuring(name: str) -> dict[str, float]:
        calls.append(name)
        return {"number": len(calls)}

    found = alternate({"a": lambda: measuring("a"), "b": lambda: measuring("b")}, 3)
    assert calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert found == {"a": {"number": [4, 5, 8]}, "b": {"number": [3, 6, 7]}}


def entered(server: Contestant) -> Wire:
    """A client that a bare server has let in."""
    wire = Wire(server.port)
    wire.socket.settimeout(PATIENCE)
    wire.open()
    wire.send("40{}")
    wire.until("40{")
    return wire


def round_trips(server: Contestant, text: str, mark: str) -> dict[str, float]:
    """Two clients that ask for a moment."""
    with load(server, 2) as clients:
        payload = server.question(text)
        return clients.ask(measure="round_trips", payload=payload, mark=mark, seconds=0.1)
