"""Message round trips: client, Socket.IO, manager, Unix socket, flow, and back by acknowledgement.

    python -m benchmarks.round_trip [--rounds 5] [--quick]

Beside a bare relay of the same way, and beside a bare python-socketio echo that goes half of it.
Each client has one question of 200 bytes on its way. Clients of the service ask for no events;
beside these, clients that hear everything, as is the default, and, where the service offers it,
clients that want the acknowledgement as the only answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing

from attrs import frozen

from benchmarks.alternation import alternate
from benchmarks.contestants import Contestant, bare_echo, bare_relay, flow_manager, load
from benchmarks.load.connection import Connection
from benchmarks.one import alone
from benchmarks.processes import Child
from benchmarks.rows import Row

SIZES = (1, 10, 50)
#: The size that the targets are about.
MEANT = 50
#: Of a round, where it is meant and elsewhere.
SECONDS, FEWER_SECONDS = 2.0, 1.0
#: Bytes of the message's JSON.
MESSAGE = 200
_LIMITS = "Python for each message, python-socketio's first of all, on the one core of a service"

Found = Mapping[str, Mapping[str, Sequence[float]]]


@frozen
class Asking:
    """Clients of one server, each of which asks whenever it has its answer."""

    contestant: Contestant
    clients: Child
    seconds: float

    def __call__(self) -> dict[str, float]:
        """Measure a round: trips a second, p99 in ms, the server's processor time of one in µs."""
        text = filling(self.contestant)
        before = self.contestant.cpu()
        found = self.clients.ask(
            measure="round_trips",
            payload=self.contestant.question(text),
            mark=text,
            seconds=self.seconds,
        )
        used = self.contestant.cpu() - before
        per_trip = used / max(1, found["count"])
        return {"rate": found["rate"], "p99": found["p99"] * 1e3, "cpu": per_trip * 1e6}


def filling(contestant: Contestant) -> str:
    """A text that makes the message as long as it should be."""
    return "x" * (MESSAGE - len(json.dumps(contestant.question("")["message"])))


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure at each size; `quick` sees whether it works at all."""
    with ExitStack() as stack:
        ours = stack.enter_context(flow_manager())
        servers = {
            "ours": ours,
            "relay": stack.enter_context(bare_relay()),
            "echo": stack.enter_context(bare_echo()),
        }
        if answers_by_acknowledgement(ours):
            servers["acknowledged"] = ours.asking(answers="ack")
        for size in (2,) if quick else SIZES:
            yield from rows_of(size, measure(servers, size, _seconds(size, quick), rounds))
        # Not among the others: what these clients hear costs the service, whoever asks.
        hearing = {"hearing": ours.asking(events=None), "relay": servers["relay"]}
        size = 2 if quick else MEANT
        found = measure(hearing, size, _seconds(size, quick), rounds)
        yield _rate(f"{_name(size)} that hear every event", "relay", found, who="hearing")


def _seconds(size: int, quick: bool) -> float:
    if quick:
        return 0.1
    return SECONDS if size == MEANT else FEWER_SECONDS


def answers_by_acknowledgement(contestant: Contestant) -> bool:
    """Whether a client may choose to get no response event besides its acknowledgement."""
    auth = contestant.asking(answers="ack").auth
    connection = Connection(contestant.port, auth, greeted=contestant.greeted)
    with closing(connection.socket):
        return "answers" in connection.greeting


def measure(servers: Mapping[str, Contestant], size: int, seconds: float, rounds: int) -> Found:
    """Measure all servers in turn with so many clients each."""
    with ExitStack() as stack:
        return alternate(
            {
                name: Asking(server, stack.enter_context(load(server, size)), seconds)
                for name, server in servers.items()
            },
            rounds,
        )


def rows_of(size: int, found: Found) -> Iterator[Row]:
    """The lines of one size: the targets' first."""
    what = _name(size)
    meant = size == MEANT
    yield _rate(what, "relay", found, 0.9 if meant else None)
    yield _row(f"{what}: p99", "relay", found, "p99", "ms", at_most=1.2 if meant else None)
    yield _rate(what, "echo", found, 0.8 if meant else None, 1.0 if meant else None)
    yield _row(f"{what}: processor time", "relay", found, "cpu", "µs a trip")
    if "acknowledged" in found:
        told = f"{what}, acknowledgement alone"
        yield _rate(told, "relay", found, who="acknowledged")
        yield _rate(told, "echo", found, stretch=1.0 if meant else None, who="acknowledged")
        yield _row(f"{told}: p99", "relay", found, "p99", "ms", who="acknowledged")
        yield _row(
            f"{told}: processor time", "relay", found, "cpu", "µs a trip", who="acknowledged"
        )


def _name(size: int) -> str:
    return f"round trip, {size} client{'' if size == 1 else 's'}"


def _rate(
    name: str,
    beside: str,
    found: Found,
    target: float | None = None,
    stretch: float | None = None,
    who: str = "ours",
) -> Row:
    return Row(
        name=name,
        beside=f"bare {beside}",
        unit="a second",
        ours=found[who]["rate"],
        theirs=found[beside]["rate"],
        target=target,
        stretch=stretch,
        limits=_LIMITS,
    )


def _row(
    name: str,
    beside: str,
    found: Found,
    figure: str,
    unit: str,
    *,
    at_most: float | None = None,
    who: str = "ours",
) -> Row:
    return Row(
        name=name,
        beside=f"bare {beside}",
        unit=unit,
        ours=found[who][figure],
        theirs=found[beside][figure],
        target=at_most,
        at_least=False,
        limits=_LIMITS,
    )


if __name__ == "__main__":
    alone(rows, __doc__)
