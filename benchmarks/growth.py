"""List, status and one message with 10, 100 and 1,000 flows, each beside the same with 10.

The flows are coroutines of the providers in memory, with a real channel's codec between them and
the manager; requests go straight through `FlowManager.execute`. So what is measured is the core's
own share, where growth would hide behind an engine and a server. The figures are the processor
time of this process, which others on the machine hardly disturb.
"""

from __future__ import annotations

import json
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import frozen

from benchmarks.one import alone
from benchmarks.rows import Row
from flow_manager_core import FlowManager, Settings
from flow_manager_core.testing.memory_backend import MemoryEngine, MemoryFlow, memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

SIZES = (10, 100, 1000)
#: As much as with 10 flows, and a quarter for the processor's caches: ten flows stay in them, and
#: each of 1,000 that are asked in turn comes from the memory.
FLAT = 1.25
#: Requests of one size in a round.
MANY = 600
#: Containers listed in a round, over all of its listings.
LISTED = 3000

Work = Callable[[], Awaitable[Any]]


@frozen
class House:
    """A manager with so many flows."""

    size: int
    manager: FlowManager
    flows: Sequence[str]

    async def message(self, number: int) -> None:
        """Ask one flow, and wait for its answer."""
        message = {"command": "echo", "data": number}
        found = self.flows[number % self.size]
        await self.manager.execute(
            "send_message", {"container_id": found, "message": message, "reply": True}
        )

    async def status(self, number: int) -> None:
        """Ask how one is."""
        found = self.flows[number % self.size]
        await self.manager.execute("get_container_status", {"container_id": found})

    async def list(self, _number: int) -> None:
        """List all."""
        await self.manager.execute("list_containers", {})


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure in this process."""
    sizes, rounds, share = ((10, 20), 1, 0.1) if quick else (SIZES, rounds, 1.0)
    found = anyio.run(_measure, sizes, rounds, share)
    for what, limits in (
        ("one message and its answer", "structuring, the turn, the channel: flat but for caches"),
        ("get_container_status", "structuring and one inspect: flat but for caches"),
        ("list_containers, per flow", "one body for each flow, and the request's own share"),
    ):
        for size in sizes[1:]:
            yield Row(
                name=f"{what}, {size:,} flows",
                beside=f"the same with {sizes[0]}",
                unit="µs",
                ours=found[what, size],
                theirs=found[what, sizes[0]],
                target=FLAT,
                at_least=False,
                limits=limits,
            )


async def _measure(
    sizes: Sequence[int], rounds: int, share: float
) -> dict[tuple[str, int], list[float]]:
    found: dict[tuple[str, int], list[float]] = {}
    async with AsyncExitStack() as stack:
        houses = [await stack.enter_async_context(house(size)) for size in sizes]
        for turn in range(rounds + 1):
            for each in houses:
                for what, took in (await _round(each, share)).items():
                    if turn:
                        found.setdefault((what, each.size), []).append(took)
    return found


async def _round(each: House, share: float) -> dict[str, float]:
    many = max(1, round(MANY * share))
    lists = max(1, round(LISTED * share / each.size))
    return {
        "one message and its answer": await _took(each.message, many),
        "get_container_status": await _took(each.status, many),
        "list_containers, per flow": await _took(each.list, lists) / each.size,
    }


async def _took(work: Callable[[int], Awaitable[None]], times: int) -> float:
    """The processor's microseconds of one."""
    began = time.process_time()
    for number in range(times):
        await work(number)
    return 1e6 * (time.process_time() - began) / times


@asynccontextmanager
async def house(size: int) -> AsyncIterator[House]:
    """A manager whose flows are all connected."""
    network = MemoryNetwork()

    async def echo(flow: MemoryFlow) -> int:
        async with await network.connect(flow.environment) as stream:
            async for message in frames(stream):
                body = {"command": "result", "data": message["data"], "reply_to": message["id"]}
                raw = json.dumps(body).encode()
                await stream.send(struct.pack(">I", len(raw)) + raw)
        return 0

    with tempfile.TemporaryDirectory(prefix="fm-bench-") as folder:
        settings = Settings(
            instance=f"growth-{size}",
            journal="memory",
            state_dir=Path(folder),
            # What happens by itself is measured by `idle`.
            monitoring=False,
            reconcile_interval=3600,
        )
        async with (
            MemoryEngine({"echo": echo}).opened() as engine,
            FlowManager(
                settings,
                backend=memory_provider(engine),
                transport=memory_transport_provider(network),
            ) as manager,
        ):
            yield House(size, manager, await _flows(manager, size))


async def _flows(manager: FlowManager, size: int) -> list[str]:
    made = []
    async with manager.subscribe() as events:
        for _ in range(size):
            answer = await manager.execute("create_container", {"image": "echo", "start": True})
            made.append(answer["container_id"])
            async for event in events:
                if type(event).__name__ == "SocketConnected":
                    break
    return made


async def frames(stream: ByteReceiveStream) -> AsyncIterator[Any]:
    """Cut a stream into messages."""
    buffered = BufferedByteReceiveStream(stream)
    try:
        while True:
            (size,) = struct.unpack(">I", await buffered.receive_exactly(4))
            yield json.loads(await buffered.receive_exactly(size))
    except (anyio.EndOfStream, anyio.IncompleteRead):
        return


if __name__ == "__main__":
    alone(rows, __doc__)
