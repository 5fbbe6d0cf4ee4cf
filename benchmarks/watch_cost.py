"""What the watch costs the manager, and what a status costs beside the engine's own `inspect`.

    python benchmarks/watch_cost.py [--containers 100] [--blocks 3] [--elsewhere] [--json]

A service watches idle containers, with one client that gets every `container_status_update`. The
manager's processor time (user and system, of its process) is taken over blocks with monitoring
on and off in turn; the difference is the rounds' cost. Rounds come every half second here, so that
there are enough of them; what a round costs does not depend on that, and is scaled to one in ten
seconds. With ``--elsewhere`` the engine is reached over TCP, where the engine's samples come every
second however seldom the manager looks: then monitoring is off first and on after that, with
rounds ten seconds apart. Where there are not 100 containers, the cost is scaled to as many.

A status is asked for over Socket.IO, an `inspect` by a bare docker-py, in turn, round by round,
with monitoring on and ten seconds between its rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import docker
import psutil
import socketio

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.engine import engine_of_choice  # noqa: E402
from benchmarks.figures import Figures, figures, table  # noqa: E402
from tests.e2e.service import Service  # noqa: E402
from tests.support.engine_proxy import EngineProxy  # noqa: E402
from tests.support.images import BUSYBOX_IMAGE, busybox_tar, import_image  # noqa: E402

#: Containers of which the cost is told, however many there are.
MEANT = 100
#: Seconds between rounds, those between rounds in earnest, and those of a block.
INTERVAL, EARNEST, BLOCK = 0.5, 10.0, 4.0
#: Creates and removals at a time.
HANDS = 8
#: Statuses and inspects of one round.
ASKED = 30
PATIENCE = 120.0


@attrs.frozen
class Costs:
    """What was measured.

    Args:
        shares: of one core, in percent, that rounds ten seconds apart take for 100 containers,
            from each pair of blocks.
        ratios: of the medians of a status and a bare inspect, of each round.
    """

    shares: list[float]
    ratios: list[float]
    status_ms: list[float]
    inspect_ms: list[float]

    def figures(self) -> list[Figures]:
        """Sum up."""
        return [
            figures("monitoring of 100, a round in 10 s", "% of a core", self.shares),
            figures("status : bare inspect", "ratio", self.ratios),
            figures("status, medians", "ms", self.status_ms),
            figures("bare inspect, medians", "ms", self.inspect_ms),
        ]


class Watcher:
    """A client that counts updates."""

    def __init__(self) -> None:
        self._io = socketio.AsyncClient(reconnection=False)
        self._io.on("container_status_update", self._count)
        self.updates = 0
        self.made: list[str] = []

    async def connect(self, service: Service) -> None:
        """Connect."""
        await self._io.connect(service.url, auth={"token": service.token})

    async def close(self) -> None:
        """Disconnect."""
        await self._io.disconnect()

    async def ask(self, request: str, **payload: Any) -> dict[str, Any]:
        """Send a request and return its answer.

        Raises:
            RuntimeError: it is an error.
        """
        answer: dict[str, Any] = await self._io.call(request, payload, timeout=PATIENCE)
        if answer.get("error"):
            raise RuntimeError(answer["message"])
        return answer

    async def make(self, number: int) -> None:
        """Start so many containers."""
        hands = asyncio.Semaphore(HANDS)

        async def one() -> None:
            async with hands:
                answer = await self.ask(
                    "create_container",
                    image=BUSYBOX_IMAGE,
                    command=["sleep", "100000"],
                    start=True,
                )
                self.made.append(answer["container_id"])

        async with asyncio.TaskGroup() as group:
            for _ in range(number):
                group.create_task(one())

    async def _count(self, _body: Any) -> None:
        self.updates += 1


async def _cpu_in(process: psutil.Process, seconds: float) -> tuple[float, float]:
    """Let time pass; return the processor's seconds that a process took, and those that passed."""
    used, began = sum(process.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(seconds)
    return sum(process.cpu_times()[:2]) - used, time.monotonic() - began


async def local_shares(watcher: Watcher, process: psutil.Process, blocks: int) -> list[float]:
    """Take pairs of blocks; the first rounds, which ask the engine for each run, do not count."""
    shares = []
    for _ in range(blocks):
        await watcher.ask("disable_resource_monitoring")
        await asyncio.sleep(INTERVAL)
        off, off_seconds = await _cpu_in(process, BLOCK)
        await watcher.ask("enable_resource_monitoring")
        await asyncio.sleep(2 * INTERVAL)
        before = watcher.updates
        on, on_seconds = await _cpu_in(process, BLOCK)
        cost = (on - off * on_seconds / off_seconds) / (watcher.updates - before)
        shares.append(100 * MEANT * cost / EARNEST)
    return shares


async def far_shares(watcher: Watcher, process: psutil.Process, blocks: int) -> list[float]:
    """Take one long block without monitoring, and then others with it."""
    off, off_seconds = await _cpu_in(process, 2 * EARNEST)
    await watcher.ask("enable_resource_monitoring")
    await asyncio.sleep(EARNEST / 2)
    found = [await _cpu_in(process, 2 * EARNEST) for _ in range(blocks)]
    scale = 100 * MEANT / len(watcher.made)
    return [scale * (on / seconds - off / off_seconds) for on, seconds in found]


async def ask_statuses(
    watcher: Watcher, engine: str, rounds: int
) -> tuple[list[float], list[float]]:
    """Ask in turn; return each round's medians of statuses and of inspects, in milliseconds."""
    status: list[float] = []
    inspect: list[float] = []
    with docker.APIClient(base_url=engine, version="auto") as bare:
        bare.inspect_container(watcher.made[0])
        for number in range(rounds):
            asked = (watcher.made * ASKED)[number * ASKED :][:ASKED]
            times = []
            for each in asked:
                began = time.perf_counter()
                await watcher.ask("get_container_status", container_id=each)
                times.append(time.perf_counter() - began)
            status.append(1000 * statistics.median(times))
            bare_times = await asyncio.to_thread(_timed, bare.inspect_container, asked)
            inspect.append(1000 * statistics.median(bare_times))
    return status, inspect


def _timed(work: Callable[[str], Any], arguments: Sequence[str]) -> list[float]:
    times = []
    for each in arguments:
        began = time.perf_counter()
        work(each)
        times.append(time.perf_counter() - began)
    return times


@contextmanager
def watching_service(engine: str, *, interval: float, monitoring: bool = True) -> Iterator[Service]:
    """A service as an operator has it, but for the pace of its rounds (seconds)."""
    root = Path(tempfile.mkdtemp(prefix="fm-bench-"))
    environ = {
        "LOG_LEVEL": "INFO",
        "FLOW_MANAGER_MONITORING": str(monitoring).lower(),
        "FLOW_MANAGER_MONITORING_INTERVAL": str(interval),
    }
    try:
        with Service(root, "docker", BUSYBOX_IMAGE, engine, **environ) as service:
            yield service
    finally:
        shutil.rmtree(root)


@asynccontextmanager
async def watched(service: Service, engine: str, containers: int) -> AsyncIterator[Watcher]:
    """A client with so many running containers, which are gone afterwards."""
    watcher = Watcher()
    await watcher.connect(service)
    try:
        await watcher.make(containers)
        yield watcher
    finally:
        await watcher.close()
        await asyncio.to_thread(_remove, engine, watcher.made)


def _remove(engine: str, made: Sequence[str]) -> None:
    """Remove behind the manager's back, as quickly as the engine can."""
    with docker.APIClient(base_url=engine, version="auto", timeout=PATIENCE) as client:
        for each in made:
            client.remove_container(each, force=True)


async def measure(
    engine: str, *, containers: int, blocks: int, rounds: int, elsewhere: bool = False
) -> Costs:
    """Measure on an engine that has busybox."""
    with ExitStack() as stack:
        reached = engine
        if elsewhere:
            reached = stack.enter_context(EngineProxy(engine, tcp=True)).url
        pace = EARNEST if elsewhere else INTERVAL
        service = stack.enter_context(
            watching_service(reached, interval=pace, monitoring=not elsewhere)
        )
        assert service.process
        process = psutil.Process(service.process.pid)
        async with watched(service, engine, containers) as watcher:
            shares = far_shares if elsewhere else local_shares
            taken = await shares(watcher, process, blocks)
            await watcher.close()
            await asyncio.to_thread(service.stop)
            changes = {"MONITORING": "true", "MONITORING_INTERVAL": "10"}
            named = {f"FLOW_MANAGER_{name}": value for name, value in changes.items()}
            await asyncio.to_thread(lambda: service.start(**named))
            await watcher.connect(service)
            status, inspect = await ask_statuses(watcher, reached, rounds)
    ratios = [one / other for one, other in zip(status, inspect, strict=True)]
    return Costs(taken, ratios, status, inspect)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--containers", type=int, default=100, help="that run (100)")
    parser.add_argument("--blocks", type=int, default=3, help="with monitoring on (3)")
    parser.add_argument("--rounds", type=int, default=9, help="of statuses and inspects (9)")
    parser.add_argument("--elsewhere", action="store_true", help="reach the engine over TCP")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fm-bench-"))
    try:
        with engine_of_choice(folder) as engine:
            with engine.client() as client:
                import_image(client, BUSYBOX_IMAGE, busybox_tar(folder), "sh")
            costs = asyncio.run(
                measure(
                    engine.url,
                    containers=asked.containers,
                    blocks=asked.blocks,
                    rounds=asked.rounds,
                    elsewhere=asked.elsewhere,
                )
            )
    finally:
        shutil.rmtree(folder)
    found = costs.figures()
    sys.stdout.write(
        json.dumps([attrs.asdict(one) for one in found]) if asked.json else table(found)
    )
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
