"""What a flood of one flow costs its neighbours, and what one flow alone gets through.

``python benchmarks/flood.py`` starts a service with flows as child processes, asks a quiet
neighbour questions through a client, and lets one and four other flows send 100,000 tiny frames a
second meanwhile. The p99 of the round trips is printed beside the quiet one, as a ratio. Last, one
flow alone sends as fast as it can.
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
#: Frames a second that a flooding flow tries to send; and as many as it can.
RATE, UNBOUNDED = 100_000, 10_000_000
BODIES = {
    "valid frames": '{"command":"x"}',
    "malformed frames": "x",
    "replies to nobody": '{"command":"x","reply_to":"nobody"}',
}
#: Seconds that anything may take.
PATIENCE = 60.0
#: Seconds between two round trips.
PAUSE = 0.002


@attrs.frozen
class Phase:
    """The neighbour's times in one phase, in milliseconds.

    Args:
        asked: from a client's question to the flow's answer.
        rates: frames a second that each flooding flow got through.
    """

    asked: list[float] = attrs.field(factory=list)
    rates: list[float] = attrs.field(factory=list)


def p99(samples: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(samples, n=100, method="inclusive")[98]


class Bench:
    """A client with a quiet neighbour and flows that flood."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._io = socketio.AsyncClient(reconnection=False)
        self._io.on("socket_connected", self._joined)
        self._changed = asyncio.Event()
        self._up: set[str] = set()
        self._made: list[str] = []
        self.neighbour = ""
        self.floods: list[str] = []

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Connect; at the end delete what was made."""
        auth = {"token": self._service.token, "events": ["socket_connected"]}
        await self._io.connect(self._service.url, auth=auth)
        try:
            yield
        finally:
            for container_id in self._made:
                await self._ask("delete_container", container_id=container_id)
            await self._io.disconnect()

    async def start(self, floods: int) -> None:
        """Start the flows."""
        self.neighbour = await self._flow("flow.py")
        self.floods = [await self._flow("hostile.py") for _ in range(floods)]

    async def quiet(self, seconds: float) -> Phase:
        """Measure while nobody floods."""
        phase = Phase()
        end = time.monotonic() + seconds
        while time.monotonic() < end or not phase.asked:
            begun = time.monotonic()
            await self._question(self.neighbour, "echo", 1)
            phase.asked.append((time.monotonic() - begun) * 1e3)
            await asyncio.sleep(PAUSE)
        return phase

    async def flooded(self, seconds: float, count: int, body: str) -> Phase:
        """Measure while so many flows flood."""
        for key in self.floods[:count]:
            await self._say(key, "flood", {"body": body, "rate": RATE})
        phase = await self.quiet(seconds)
        phase.rates.extend([await self._calm(key) for key in self.floods[:count]])
        return phase

    async def alone(self, seconds: float) -> float:
        """Frames a second that one flow gets through with nobody else there."""
        await self._say(
            self.floods[0], "flood", {"body": BODIES["valid frames"], "rate": UNBOUNDED}
        )
        await asyncio.sleep(seconds)
        return await self._calm(self.floods[0])

    async def _ask(self, request: str, **payload: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self._io.call(request, payload, timeout=PATIENCE)
        if answer.get("error"):
            raise RuntimeError(answer["message"])
        return answer

    async def _flow(self, program: str) -> str:
        answer = await self._ask(
            "create_container",
            image=self._service.image,
            command=self._service.command(program),
            code_path=str(self._service.root / "code"),
            stop_timeout=1,
            start=True,
        )
        key = str(answer["container_id"])
        self._made.append(key)
        await self._until(lambda: key in self._up)
        return key

    async def _question(self, key: str, command: str, data: Any = None) -> Any:
        message = {"command": command, "data": data}
        answer = await self._ask(
            "send_message", container_id=key, message=message, reply=True, timeout=PATIENCE
        )
        return answer["reply"]["data"]

    async def _say(self, key: str, command: str, data: Any = None) -> None:
        message = {"command": command, "data": data}
        await self._ask("send_message", container_id=key, message=message)

    async def _calm(self, key: str) -> float:
        told = await self._question(key, "calm")
        return float(told["sent"] / told["seconds"])

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _joined(self, body: dict[str, Any]) -> None:
        self._up.add(body["container_id"])
        self._changed.set()


@asynccontextmanager
async def bench(floods: int) -> AsyncIterator[Bench]:
    """A service whose flows are child processes, with a client and its flows."""
    root = Path(tempfile.mkdtemp(prefix="fm-flood-"))
    try:
        shutil.copytree(FLOWS, root / "code", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ATTACKS, root / "code")
        with Service(root, "process", "python", "", LOG_LEVEL="WARNING") as service:
            made = Bench(service)
            async with made.connected():
                await made.start(floods)
                yield made
    finally:
        shutil.rmtree(root)


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


async def measure(seconds: float) -> None:
    """Measure everything, and print it as it comes."""
    async with bench(4) as made:
        await made.quiet(seconds / 2)
        for what, body in BODIES.items():
            for count in (1, 4):
                quiet = await made.quiet(seconds)
                flooded = await made.flooded(seconds, count, body)
                show("quiet", quiet.asked, quiet.asked, [])
                show(f"{count} x {what}", flooded.asked, quiet.asked, flooded.rates)
        rate = await made.alone(seconds)
        sys.stdout.write(f"one flow alone, one way: {rate:,.0f} frames a second\n")


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="of each phase (4)")
    asyncio.run(measure(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
