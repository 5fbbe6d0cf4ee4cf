"""From a flow's crash until a client knows, beside a bare docker-py listener's ``die`` event.

Both are counted from the moment at which the flow's program leaves, by the same clock; see
`crash_latency`, which also tells what passes from the engine's own time of the event on.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.crash_latency import measure, put_code
from benchmarks.engine import any_engine, image_of
from benchmarks.one import alone
from benchmarks.rows import Row
from tests.e2e.service import Service

#: Crashes of a round.
CRASHES = 7
TARGET = 1.5


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure on the engine of choice."""
    rounds, crashes = (1, 2) if quick else (rounds, CRASHES)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fm-bench-")))
        put_code(folder)
        engine = stack.enter_context(any_engine())
        service = stack.enter_context(
            Service(folder, "docker", image_of(engine), engine.url, LOG_LEVEL="WARNING")
        )
        found = asyncio.run(measure(service, rounds, crashes))
    told = _medians(found.exit_to_told, crashes)
    yield Row(
        name="crash until a client knows",
        beside="a bare listener's `die`",
        unit="ms",
        ours=told,
        theirs=_medians(found.exit_to_bare, crashes),
        target=TARGET,
        at_least=False,
        limits="the engine answers no inspect and no log for some 40 ms after its `die`",
    )
    yield Row(
        name="crash until a client knows how",
        beside="the same listener with an inspect and the log's tail",
        unit="ms",
        ours=told,
        theirs=_medians(found.exit_to_known, crashes),
        limits="the same two questions, the record of the end, and Socket.IO",
    )


def _medians(samples: Sequence[float], size: int) -> list[float]:
    """The median of each round."""
    return [
        statistics.median(samples[start : start + size]) for start in range(0, len(samples), size)
    ]


if __name__ == "__main__":
    alone(rows, __doc__)
