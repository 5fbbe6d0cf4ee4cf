"""Fan-out: one message of a flow to many clients, until the last of them has it.

    python -m benchmarks.fan_out [--rounds 5] [--quick]

Beside a bare python-socketio ``emit`` to as many clients. The time begins where the flow sends,
beside it where ``emit`` is called. The service's clients ask for ``message_received`` alone; beside
them, clients that hear every event, as is the default: of each message the feed tells as well.
"""

from __future__ import annotations

import resource
import statistics
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from attrs import frozen

from benchmarks.alternation import alternate
from benchmarks.contestants import Contestant, bare_echo, flow_manager, load
from benchmarks.one import alone
from benchmarks.processes import Child
from benchmarks.rows import Row

SIZES = (100, 500, 1_000)
#: Receptions in a round: so many clients fewer, so many messages more.
RECEPTIONS = 5_000
#: Characters of the message's text: its JSON has some 200 bytes.
SIZE = 120
_HEARD = "message_received"
_LIMITS = "Python for each receiver: its queue, its task, its WebSocket frame, one system call"


@frozen
class Hearing:
    """Clients of one server, which are all told something, one message after the other."""

    contestant: Contestant
    clients: Child
    size: int
    times: int

    def __call__(self) -> dict[str, float]:
        """Measure a round: ms to the last client, the server's processor time of a client in µs."""
        before = self.contestant.cpu()
        payload = self.contestant.order("tell", "x" * SIZE)
        found = self.clients.ask(measure="fan_outs", payload=payload, times=self.times)
        used = self.contestant.cpu() - before
        per_client = used / self.times / self.size
        return {"last": statistics.median(found["taken"]) * 1e3, "cpu": per_client * 1e6}


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure at each size; `quick` sees whether it works at all."""
    _allow_descriptors()
    sizes = (5,) if quick else SIZES
    receptions = 10 if quick else RECEPTIONS
    with flow_manager() as ours, bare_echo() as bare:
        servers = {"ours": ours.asking(events=[_HEARD]), "bare": bare}
        for size in sizes:
            found = measure(servers, size, receptions, rounds)
            yield from rows_of(f"fan-out to {size:,} clients", found, meant=True)
        servers = {"ours": ours.asking(events=None), "bare": bare}
        found = measure(servers, sizes[-1], receptions, rounds)
        told = f"fan-out to {sizes[-1]:,} clients that hear every event"
        yield from rows_of(told, found, meant=False)


def measure(
    servers: Mapping[str, Contestant], size: int, receptions: int, rounds: int
) -> Mapping[str, Mapping[str, list[float]]]:
    """Measure both servers in turn with so many clients each."""
    times = receptions // size
    with ExitStack() as stack:
        return alternate(
            {
                name: Hearing(server, stack.enter_context(load(server, size)), size, times)
                for name, server in servers.items()
            },
            rounds,
        )


def rows_of(
    name: str, found: Mapping[str, Mapping[str, list[float]]], *, meant: bool
) -> Iterator[Row]:
    """The lines of one size; the target is about clients that are `meant`."""
    for figure, what, unit in (("last", "", "ms"), ("cpu", ": processor time", "µs a client")):
        aim = meant and figure == "last"
        yield Row(
            name=f"{name}{what}",
            beside="bare emit",
            unit=unit,
            ours=found["ours"][figure],
            theirs=found["bare"][figure],
            target=1.1 if aim else None,
            at_least=False,
            stretch=0.6 if aim else None,
            limits=_LIMITS,
        )


def _allow_descriptors() -> None:
    """Let the programs that are started have as many descriptors as this user may have."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    alone(rows, __doc__)
