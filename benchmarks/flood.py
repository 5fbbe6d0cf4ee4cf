"""What a flood of one flow costs its neighbours, and what one flow alone gets through.

``python benchmarks/flood.py`` starts a service with flows as child processes, asks a quiet
neighbour questions through a client, and lets none, one and four other flows send 100,000 tiny
frames a second meanwhile. The p99 of the round trips is printed beside the quiet one, as a ratio;
so is the delay of what the neighbour says by itself. Then one flow alone sends as fast as it can.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import socketio

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.e2e.service import Service  # noqa: E402

FLOWS = ROOT / "tests" / "e2e" / "flows"
ATTACKS = ROOT / "tests" / "support" / "hostile_frames.py"
#: Frames a second that a flooding flow tries to send.
RATE = 100_000
BODIES = {
    "valid frames": '{"command":"x"}',
    "malformed frames": "x",
    "unknown reply_to": '{"command":"x","reply_to":"nobody"}',
}
#: Seconds that anything may take.
PATIENCE = 30.0


@attrs.frozen
class RoundTrips:
    """What one phase has shown, in milliseconds.

    Args:
        asked: from a client's question to the flow's answer.
        told: from the question to the event that the flow sends beside its answer.
    """

    asked: list[float] = attrs.field(factory=list)
    told: list[float] = attrs.field(factory=list)


def p99(samples: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(samples, n=100, method="inclusive")[98]


class Bench:
    """A client, a quiet neighbour and the flows that flood."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._io = socketio.AsyncClient(reconnection=False)
        self._io.on("message_received", self._heard)
        self._io.on("socket_connected", self._joined)
        self._changed = asyncio.Event()
        self._up: set[str] = set()
        self._marks: dict[str, float] = {}
        self._made: list[str] = []

    @asynccontextmanager
    async def connected(self, *events: str) -> AsyncIterator[None]:
        """Connect, for these events; at the end delete what was made."""
        auth = {"token": self._service.token, "events": [*events, "socket_connected"]}
        await self._io.connect(self._service.url, auth=auth)
        try:
            yield
        finally:
            for container_id in self._made:
                await self.ask("delete_container", container_id=container_id)
            await self._io.disconnect()

    async def ask(self, request: str, **payload: Any) -> dict[str, Any]:
        """Send a request; return its answer.

        Raises:
            RuntimeError: it was refused.
        """
        answer: dict[str, Any] = await self._io.call(request, payload, timeout=PATIENCE)
        if answer.get("error"):
            raise RuntimeError(answer["message"])
        return answer

    async def flow(self, program: str) -> str:
        """Start a flow, and wait for its channel."""
        answer = await self.ask(
            "create_container",
            image=self._service.image,
            command=self._service.command(program),
            code_path=str(self._service.root / "code"),
            stop_timeout=1,
            start=True,
        )
        key = str(answer["container_id"])
        self._made.append(key)
        async with asyncio.timeout(PATIENCE):
            while key not in self._up:
                self._changed.clear()
                await self._changed.wait()
        return key

    async def question(self, key: str, command: str, data: Any = None) -> Any:
        """Ask a flow; return its answer's data."""
        message = {"command": command, "data": data}
        answer = await self.ask("send_message", container_id=key, message=message, reply=True)
        return answer["reply"]["data"]

    async def say(self, key: str, command: str, data: Any = None) -> None:
        """Tell a flow something."""
        message = {"command": command, "data": data}
        await self.ask("send_message", container_id=key, message=message)

    async def round_trips(self, key: str, seconds: float) -> RoundTrips:
        """Ask one question after the other."""
        found = RoundTrips()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.monotonic()
            await self.question(key, "echo", 1)
            found.asked.append((time.monotonic() - begun) * 1e3)
            await asyncio.sleep(0.002)
        return found

    async def delays(self, key: str, seconds: float) -> list[float]:
        """Have the neighbour say something, and measure until it is heard."""
        found: list[float] = []
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end:
            number += 1
            begun = time.monotonic()
            await self.say(key, "say", f"mark {number}")
            async with asyncio.timeout(PATIENCE):
                while f"mark {number}" not in self._marks:
                    self._changed.clear()
                    await self._changed.wait()
            found.append((self._marks[f"mark {number}"] - begun) * 1e3)
        return found

    async def _heard(self, body: dict[str, Any]) -> None:
        data = body["message"].get("data")
        if isinstance(data, str):
            self._marks[data] = time.monotonic()
            self._changed.set()

    async def _joined(self, body: dict[str, Any]) -> None:
        self._up.add(body["container_id"])
        self._changed.set()


@asynccontextmanager
async def flooded(bench: Bench, keys: Sequence[str], body: str) -> AsyncIterator[list[float]]:
    """Let flows flood; the list gets the frames a second that each got through."""
    rates: list[float] = []
    for key in keys:
        await bench.question(key, "flood", {"body": body, "rate": RATE})
    begun = [await bench.question(key, "sent") for key in keys]
    started = time.monotonic()
    yield rates
    for key, before in zip(keys, begun, strict=True):
        sent = await bench.question(key, "calm")
        rates.append((sent - before) / (time.monotonic() - started))


@asynccontextmanager
async def service_with_flows(**environ: str) -> AsyncIterator[Service]:
    """A service whose flows are child processes, and their code."""
    root = Path(tempfile.mkdtemp(prefix="fm-flood-"))
    try:
        shutil.copytree(FLOWS, root / "code", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ATTACKS, root / "code")
        with Service(root, "process", "python", "", LOG_LEVEL="WARNING", **environ) as service:
            yield service
    finally:
        shutil.rmtree(root)


async def one_way(seconds: float) -> float:
    """Frames a second that one flow alone gets to a client's process."""
    async with service_with_flows() as service:
        bench = Bench(service)
        async with bench.connected():
            key = await bench.flow("hostile.py")
            await bench.question(key, "flood", {"body": BODIES["valid frames"], "rate": 10**7})
            before, started = await bench.question(key, "sent"), time.monotonic()
            await asyncio.sleep(seconds)
            after = await bench.question(key, "calm")
            return float(after - before) / (time.monotonic() - started)


async def neighbour(seconds: float, say: Any) -> None:
    """Measure the neighbour in quiet and in every flood."""
    async with service_with_flows() as service:
        bench = Bench(service)
        async with bench.connected():
            quiet = await bench.flow("flow.py")
            floods = [await bench.flow("hostile.py") for _ in range(4)]
            await bench.round_trips(quiet, seconds / 4)
            base = await bench.round_trips(quiet, seconds)
            say("quiet", base.asked, base.asked, [])
            for what, body in BODIES.items():
                for count in (1, 4):
                    async with flooded(bench, floods[:count], body) as rates:
                        found = await bench.round_trips(quiet, seconds)
                    say(f"{count} x {what}", found.asked, base.asked, rates)
            say("quiet again", (await bench.round_trips(quiet, seconds)).asked, base.asked, [])


def show(
    what: str, samples: Sequence[float], base: Sequence[float], rates: Sequence[float]
) -> None:
    """Print one line."""
    got = ", ".join(f"{rate:,.0f}" for rate in rates)
    sys.stdout.write(
        f"{what:<24} n {len(samples):>5}  median {statistics.median(samples):7.2f} ms"
        f"  p99 {p99(samples):7.2f} ms  ratio {p99(samples) / p99(base):6.2f}"
        f"  frames/s {got}\n"
    )
    sys.stdout.flush()


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="of each phase (4)")
    asked = parser.parse_args()
    asyncio.run(neighbour(asked.seconds, show))
    rate = asyncio.run(one_way(asked.seconds))
    sys.stdout.write(f"one flow alone, one way: {rate:,.0f} frames a second\n")


if __name__ == "__main__":
    main()
