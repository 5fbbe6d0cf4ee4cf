"""What a client that never reads costs: the server's memory, and its neighbour's rate.

    python -m benchmarks.slow_client [--rounds 5] [--quick]

A flow sends large messages at a pace, which a neighbour hears while it asks one question after the
other, beside a client that never reads; then the same again without that client. A bare server
keeps whatever such a client does not take; the service lets it go once too much waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from attrs import frozen

from benchmarks.alternation import alternate
from benchmarks.contestants import Contestant, bare_echo, flow_manager, load
from benchmarks.one import alone
from benchmarks.processes import Child
from benchmarks.round_trip import filling
from benchmarks.rows import Row

#: Characters of a message, and messages a second: twice in two seconds what may wait by default.
SIZE, RATE = 64 * 1024, 500
SECONDS = 2.0
_HEARD = ["message_received"]
_KB = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)

Serve = Callable[[], AbstractContextManager[Contestant]]


@frozen
class Neighbourhood:
    """A server that is started anew for each round: what memory it has had, it keeps."""

    serve: Serve
    seconds: float

    def __call__(self) -> dict[str, float]:
        """Measure a round: MB more at its peak, the neighbour's rate then to its rate after."""
        with self.serve() as running:
            server = running.asking(events=_HEARD)
            with load(server, 1) as neighbour:
                self._ask(server, neighbour, seconds=self.seconds / 4)  # at first all is slower
                before = peak(server.pid)
                with load(server, 1, reads=False):
                    disturbed = self._rate(server, neighbour)
                memory = peak(server.pid) - before
                return {"memory": memory, "rate": disturbed / self._rate(server, neighbour)}

    def _rate(self, server: Contestant, neighbour: Child) -> float:
        """The neighbour's round trips a second until the flow has sent all."""
        many = {"count": int(RATE * self.seconds), "size": SIZE, "rate": RATE}
        neighbour.ask(measure="request", payload=server.order("burst", many))
        return self._ask(server, neighbour)

    def _ask(self, server: Contestant, neighbour: Child, **limit: float) -> float:
        text = filling(server)
        found = neighbour.ask(
            measure="round_trips", payload=server.question(text), mark=text, **limit
        )
        return float(found["rate"])


def peak(pid: int) -> float:
    """The most memory that a process has had resident so far, in MB."""
    found = _KB.search(Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1000


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure; `quick` sees whether it works at all."""
    seconds = 0.2 if quick else SECONDS
    servers: dict[str, Serve] = {"ours": flow_manager, "echo": bare_echo}
    found = alternate(
        {name: Neighbourhood(serve, seconds) for name, serve in servers.items()},
        rounds,
        warm_up=False,  # each server is a new one
    )
    megabytes = SIZE * RATE * seconds / 1e6
    yield Row(
        name=f"a client that never reads {megabytes:.0f} MB: memory",
        beside="bare echo",
        unit="MB",
        ours=found["ours"]["memory"],
        theirs=found["echo"]["memory"],
        at_least=False,
        limits="ours: what may wait for a client (client_queue_bytes); the other's: nothing",
    )
    yield Row(
        name="its neighbour's rate, to its rate without it",
        beside="bare echo",
        unit="of 1",
        ours=found["ours"]["rate"],
        theirs=found["echo"]["rate"],
        limits="a message more to queue for each that the flow sends",
    )


if __name__ == "__main__":
    alone(rows, __doc__)
