"""From a flow's crash until a client knows, beside a bare docker-py listener's ``die`` event.

Both are counted from the engine's own time of the event; see `crash_latency`.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.crash_latency import FLOW, measure
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
        (folder / "code").mkdir()
        shutil.copy(FLOW, folder / "code")
        engine = stack.enter_context(any_engine())
        service = stack.enter_context(
            Service(folder, "docker", image_of(engine), engine.url, LOG_LEVEL="WARNING")
        )
        found = asyncio.run(measure(service, rounds, crashes))
    yield Row(
        name="crash until a client knows",
        beside="a bare listener's `die`",
        unit="ms",
        ours=_medians(found.told, crashes),
        theirs=_medians(found.bare, crashes),
        target=TARGET,
        at_least=False,
        limits="an inspect and the log's tail follow the event before the client is told why",
    )


def _medians(samples: Sequence[float], size: int) -> list[float]:
    """The median of each round."""
    return [
        statistics.median(samples[start : start + size]) for start in range(0, len(samples), size)
    ]


if __name__ == "__main__":
    alone(rows, __doc__)
