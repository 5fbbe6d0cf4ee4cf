"""Where the service's processor time goes in a benchmark's round.

    python -m benchmarks.profiled [--clients 50] [--one-way] [--seconds 5] [--lines 30]

Tells by package, by task of the event loop, by function, and by function with all that it calls.
The sampler looks at most a thousand times a second, as the kernel's clock allows: what it adds, it
adds to all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from benchmarks.contestants import Contestant, flow_manager, load
from benchmarks.one_way import COUNT, Listening
from benchmarks.processes import ROOT
from benchmarks.round_trip import Asking
from tests.e2e.service import Service

Stack = tuple[int, list[str]]
#: What calls everything that asyncio's loop runs, and what anyio puts round each of its tasks.
_LOOP = {"asyncio/events.py:Handle._run", "_core/_tasks.py:TaskHandle._run_coro"}
#: Seconds that the service may take to write.
_PATIENCE = 10.0


@contextmanager
def sampled(found: Path) -> Iterator[Contestant]:
    """The service with the sampler."""

    class Sampled(Service):
        program = ("-m", "benchmarks.sampled_service", str(found))

    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with flow_manager(Sampled, PYTHONPATH=path) as contestant:
        yield contestant


def samples(measure: Callable[[], object], pid: int, found: Path) -> list[Stack]:
    """Sample for as long as something is measured."""
    os.kill(pid, signal.SIGUSR1)
    measure()
    os.kill(pid, signal.SIGUSR2)
    end = time.monotonic() + _PATIENCE
    while not found.exists():
        if time.monotonic() > end:
            raise TimeoutError("the service wrote no samples")
        time.sleep(0.01)
    return [(count, places) for count, *places in json.loads(found.read_text())]


def tell(stacks: Iterable[Stack], lines: int) -> None:
    """Print the views."""
    packages: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    together: Counter[str] = Counter()
    for count, places in stacks:
        packages[_package(places[-1])] += count
        tasks[_task(places)] += count
        alone[_short(places[-1])] += count
        for place in set(map(_short, places)):
            together[place] += count
    total = packages.total()
    views = {
        "packages": packages,
        "what the loop runs": tasks,
        "functions": alone,
        "functions and what they call": together,
    }
    for title, counted in views.items():
        sys.stdout.write(f"\n{title}, percent of {total} samples\n")
        for name, count in counted.most_common(lines):
            sys.stdout.write(f"{100 * count / total:6.1f}  {name}\n")


def _task(places: list[str]) -> str:
    """What the event loop called: a task's coroutine, or a callback."""
    for caller, called in pairwise(map(_short, places)):
        if caller in _LOOP and called not in _LOOP:
            return called
    return "the loop itself"


def _short(place: str) -> str:
    path, _, name = place.rpartition(":")
    return f"{'/'.join(Path(path).parts[-2:])}:{name}"


def _package(place: str) -> str:
    """The import package of a place; the standard library's are packages of their own."""
    path = Path(place.rpartition(":")[0])
    for parent in path.parents:
        if not (parent / "__init__.py").exists():
            return path.relative_to(parent).parts[0]
    return place


def main() -> None:
    """Read the arguments, run one round, print what was seen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=50, help="that ask (50)")
    parser.add_argument("--one-way", action="store_true", help="one client that only listens")
    parser.add_argument("--seconds", type=float, default=5, help="of asking (5)")
    parser.add_argument("--lines", type=int, default=30, help="of each view (30)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fm-bench-") as folder:
        found = Path(folder) / "samples.json"
        with sampled(found) as running:
            service = running.asking(events=["message_received"] if asked.one_way else [])
            with load(service, 1 if asked.one_way else asked.clients) as clients:
                measure: Callable[[], object] = Asking(service, clients, asked.seconds)
                if asked.one_way:
                    measure = Listening(service, clients, COUNT)
                stacks = samples(measure, service.pid, found)
    tell(stacks, asked.lines)


if __name__ == "__main__":
    main()
