"""What 200 running flows cost the manager when nothing happens: processor time, and memory.

Their channels are up and answer the manager's questions for a sign of life; monitoring is on with
its default of a round in ten seconds, which is also the length of a round here. After the
first rounds the same is counted while a client is told of everything, as a dashboard is. The
processor time is that of the manager's process, user and system; the memory is what its resident
size grew by, per flow.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
from attrs import field, frozen

from benchmarks.client import Client, connected
from benchmarks.engine import any_engine, image_of
from benchmarks.one import alone
from benchmarks.rows import Row
from tests.e2e.service import Service

FLOWS = 200
#: Percent of a core.
TARGET = 2.0
#: Seconds of a round: the default interval of monitoring, so that each has one of it.
BLOCK = 10.0
#: Rounds in which the same is also counted with a client; it has no target.
WATCHED = 2
#: Creates under way at a time.
HANDS = 12
#: A flow that greets and answers questions for a sign of life, with no more than it needs.
PROGRAM = """
import _socket, _struct, posix
channel = _socket.socket(_socket.AF_UNIX)
channel.connect(posix.environ[b"FLOW_SOCKET"].decode())
def send(text):
    channel.send(_struct.pack(">I", len(text)) + text.encode())
send('{"command":"hello","data":{"protocol":1,"heartbeat":true}}')
while frame := channel.recv(4096):
    body = frame[4:].decode()
    key = body.partition('"id":"')[2].partition('"')[0]
    send('{"command":"pong","reply_to":"' + key + '"}')
"""
COMMAND = ("python3", "-I", "-S", "-c", PROGRAM)


@frozen
class Idle:
    """Shares of a core in percent, round by round, and bytes of memory for each flow.

    Args:
        watched: the shares while a client is told of everything.
    """

    shares: list[float] = field(factory=list)
    watched: list[float] = field(factory=list)
    memory: list[float] = field(factory=list)


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure on the engine of choice."""
    number, block = (3, 1.0) if quick else (FLOWS, BLOCK)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fm-bench-")))
        engine = stack.enter_context(any_engine())
        service = stack.enter_context(
            Service(folder, "docker", image_of(engine), engine.url, LOG_LEVEL="INFO")
        )
        found = asyncio.run(measure(service, number, 1 if quick else rounds, block))
    yield Row(
        name=f"idle, {number} flows with channels and monitoring",
        beside="",
        unit="% of a core",
        ours=found.shares,
        target=TARGET,
        at_least=False,
        limits="a round of monitoring reads ten files a flow; each silent flow is asked once",
    )
    yield Row(
        name=f"the same, and a client is told of all {number}",
        beside="",
        unit="% of a core",
        ours=found.watched,
        limits="for each flow and round a status is written and sent, a system call each",
    )
    yield Row(
        name=f"memory of the manager for each of {number} flows",
        beside="",
        unit="KiB",
        ours=[each / 1024 for each in found.memory],
        limits="the flow's tasks, records and samples of its use of resources",
    )


async def measure(service: Service, number: int, rounds: int, block: float) -> Idle:
    """Start the flows, wait until they are up and it is quiet, and count."""
    found = Idle()
    assert service.process
    process = psutil.Process(service.process.pid)
    async with connected(service) as client:
        made = await make(client, service.image, 1)
        before = process.memory_info().rss
        made += await make(client, service.image, number - 1)
        await client.heard("socket_connected", number)
    try:
        await asyncio.sleep(block)
        for turn in range(rounds):
            found.shares.append(await share(process, block))
            if turn < WATCHED:
                async with connected(service):
                    found.watched.append(await share(process, block))
            found.memory.append((process.memory_info().rss - before) / (number - 1))
    finally:
        async with connected(service) as client:
            await remove(client, made)
    return found


async def share(process: psutil.Process, seconds: float) -> float:
    """Let time pass; return what a process used of a core, in percent."""
    used, began = sum(process.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(seconds)
    return 100 * (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began)


async def make(client: Client, image: str, number: int) -> list[str]:
    """Start so many flows."""
    hands = asyncio.Semaphore(HANDS)

    async def one() -> str:
        async with hands:
            answer = await client.ask(
                "create_container", image=image, command=list(COMMAND), start=True
            )
            return str(answer["container_id"])

    return list(await asyncio.gather(*(one() for _ in range(number))))


async def remove(client: Client, made: list[str]) -> None:
    """Delete flows."""
    hands = asyncio.Semaphore(HANDS)

    async def one(container_id: str) -> None:
        async with hands:
            await client.ask("delete_container", container_id=container_id)

    await asyncio.gather(*map(one, made))


if __name__ == "__main__":
    alone(rows, __doc__)
