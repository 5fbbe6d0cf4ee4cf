"""What is counted for every request and message: plain numbers, made into metrics when asked for.

A counter and a histogram of prometheus_client cost 2 µs a request with their locks and checks,
these a fifth of that. They belong to one event loop, so they need no locks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import accumulate

from attrs import define, field
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

#: Seconds; from a message's way to a stop that waits for its program.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@define
class _Times:
    """How long requests of one kind took: how many fell into each bucket, and all together."""

    seconds: float = 0.0
    counts: list[int] = field(factory=lambda: [0] * (len(BUCKETS) + 1))


class Tally(Collector):
    """Counts; a collector of one registry.

    Args:
        prefix: what all names begin with.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._times: defaultdict[str, _Times] = defaultdict(_Times)
        #: Messages of channels, by their direction.
        self.messages: dict[str, int] = {"sent": 0, "received": 0}

    def request(self, name: str, outcome: str, seconds: float) -> None:
        """Count a request that took so long."""
        self._outcomes[name, outcome] += 1
        times = self._times[name]
        times.seconds += seconds
        times.counts[bisect_left(BUCKETS, seconds)] += 1

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        requests = self._counter("operations", "Requests", "operation", "outcome")
        for labels, number in self._outcomes.items():
            requests.add_metric(labels, number)
        yield requests
        durations = HistogramMetricFamily(
            f"{self._prefix}operation_duration_seconds", "Requests' time", labels=["operation"]
        )
        for name, times in self._times.items():
            durations.add_metric([name], _buckets(times.counts), times.seconds)
        yield durations
        messages = self._counter("messages", "Messages of channels", "direction")
        for direction, number in self.messages.items():
            messages.add_metric([direction], number)
        yield messages

    def _counter(self, name: str, told: str, *labels: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"{self._prefix}{name}", told, labels=labels)


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    bounds = [*map(floatToGoString, BUCKETS), "+Inf"]
    return list(zip(bounds, accumulate(counts), strict=True))
