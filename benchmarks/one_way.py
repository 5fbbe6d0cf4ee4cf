"""One way: a flow sends as fast as it is let, and one client hears all of it.

    python -m benchmarks.one_way [--rounds 5] [--quick]

Beside the bare relay. The client of the service asks for ``message_received`` alone; beside it, one
that hears every event, as is the default: of each message the feed tells as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from attrs import frozen

from benchmarks.alternation import alternate
from benchmarks.contestants import Contestant, bare_relay, flow_manager, load
from benchmarks.one import alone
from benchmarks.processes import Child
from benchmarks.rows import Row

#: Messages in a round, some two seconds of them, and characters of each one's data: its JSON has
#: about 200 bytes.
COUNT, SIZE = 10_000, 170
_LIMITS = "Python for each frame and each packet, on the one core of a service"


@frozen
class Listening:
    """One client of a server, which makes the flow send."""

    contestant: Contestant
    client: Child
    count: int

    def __call__(self) -> dict[str, float]:
        """Measure a round: messages a second, the server's processor time of one in µs."""
        before = self.contestant.cpu()
        wanted = {"count": self.count, "size": SIZE}
        found = self.client.ask(
            measure="one_way", payload=self.contestant.order("burst", wanted), count=self.count
        )
        used = self.contestant.cpu() - before
        return {"rate": found["rate"], "cpu": used / self.count * 1e6}


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure; `quick` sees whether it works at all."""
    with flow_manager() as ours, bare_relay() as relay:
        for what, events in (("", ["message_received"]), (" that hears every event", None)):
            servers = {"ours": ours.asking(events=events), "relay": relay}
            found = measure(servers, 2_000 if quick else COUNT, rounds)
            yield Row(
                name=f"one way to a client{what}",
                beside="bare relay",
                unit="a second",
                ours=found["ours"]["rate"],
                theirs=found["relay"]["rate"],
                target=None if what else 0.9,
                limits=_LIMITS,
            )
            yield Row(
                name=f"one way to a client{what}: processor time",
                beside="bare relay",
                unit="µs a message",
                ours=found["ours"]["cpu"],
                theirs=found["relay"]["cpu"],
                at_least=False,
                limits=_LIMITS,
            )


def measure(
    servers: Mapping[str, Contestant], count: int, rounds: int
) -> Mapping[str, Mapping[str, list[float]]]:
    """Measure all servers in turn with one client each."""
    with ExitStack() as stack:
        return alternate(
            {
                name: Listening(server, stack.enter_context(load(server, 1)), count)
                for name, server in servers.items()
            },
            rounds,
        )


if __name__ == "__main__":
    alone(rows, __doc__)
