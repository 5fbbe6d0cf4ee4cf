"""Create, start and the first message, beside docker-py that creates and starts in a thread pool.

Ours: from a client's ``create_container`` with ``start`` until that client has the first frame of
the flow's program; for 20 at once, of the last one. Theirs: docker-py makes containers of the same
image, command and host configuration (taken from the engine's own description of one of ours) and
starts them; its clock stops when the last start returns.

What differs: ours carry the manager's labels and their own channel's folder where theirs mount an
empty one; our programs connect and send a frame where theirs find no channel; and our clock stops
later, when a program in the container has run, where theirs stops when the engine has begun it.
A row without a target says how long ours takes until the start is acknowledged, as theirs.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import docker
from attrs import field, frozen

from benchmarks.client import PATIENCE, Client, connected
from benchmarks.engine import any_engine, image_of
from benchmarks.one import alone
from benchmarks.rows import Row
from tests.e2e.service import Service

TARGET = 1.1
#: At once, and of how many rounds each figure of a round is the median.
SIZES = ((1, 5), (20, 1))
#: Docker-py's threads: more of them gain nothing here (measured: six and twenty at once).
THREADS = 6
#: A program that is up as soon as a Python can be: its first frame is {"command":"up"}.
PROGRAM = """
import _socket, posix, time
path = posix.environ.get(b"FLOW_SOCKET")
try:
    channel = _socket.socket(_socket.AF_UNIX)
    channel.connect(path.decode())
    channel.send(b'\\0\\0\\0\\x10{"command":"up"}')
except OSError:
    pass
time.sleep(100000)
"""
COMMAND = ("python3", "-I", "-S", "-c", PROGRAM)


@frozen
class Round:
    """One size's figures, a round each, in milliseconds."""

    ours: list[float] = field(factory=list)
    acknowledged: list[float] = field(factory=list)
    theirs: list[float] = field(factory=list)


class Bare:
    """Docker-py on its own.

    Args:
        made: what the engine says of a container of ours.
        folder: an empty folder that stands where the channel's is.
    """

    def __init__(self, engine: str, made: Mapping[str, Any], folder: Path) -> None:
        self._client = docker.APIClient(base_url=engine, version="auto", num_pools=THREADS)
        self._pool = ThreadPoolExecutor(THREADS)
        host = {**made["HostConfig"], "Mounts": None, "Binds": None}
        targets = [mount["Destination"] for mount in made["Mounts"]]
        host["Binds"] = [f"{folder}:{target}:ro" for target in targets]
        config = {**made["Config"], "Labels": {}, "Hostname": ""}
        self._body = {**config, "HostConfig": host}

    def close(self) -> None:
        """Close the threads and the connections."""
        self._pool.shutdown()
        self._client.close()

    def run(self, number: int) -> float:
        """Create and start so many; return how long it took, in milliseconds."""
        began = time.perf_counter()
        made = list(self._pool.map(self._one, range(number)))
        took = 1000 * (time.perf_counter() - began)
        list(self._pool.map(self._remove, made))
        return took

    def _one(self, _number: int) -> str:
        made: str = self._client.create_container_from_config(self._body)["Id"]
        self._client.start(made)
        return made

    def _remove(self, container_id: str) -> None:
        self._client.remove_container(container_id, v=True, force=True)


class Ours:
    """The service, asked by one client."""

    def __init__(self, client: Client, image: str) -> None:
        self._client = client
        self._image = image

    async def make(self) -> str:
        """Create and start one; return its id once the start is acknowledged."""
        answer = await self._client.ask(
            "create_container", image=self._image, command=list(COMMAND), start=True
        )
        return str(answer["container_id"])

    async def remove(self, made: Sequence[str]) -> None:
        """Delete them."""
        await asyncio.gather(
            *(self._client.ask("delete_container", container_id=each) for each in made)
        )

    async def run(self, number: int) -> tuple[float, float]:
        """Create and start so many; return when all spoke, and all were acknowledged (ms)."""
        self._client.told.clear()
        began = time.perf_counter()
        made = await asyncio.gather(*(self.make() for _ in range(number)))
        acknowledged = time.perf_counter()
        spoke = await self._client.heard("message_received", number)
        await self.remove(made)
        return 1000 * (spoke - began), 1000 * (acknowledged - began)


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure on the engine of choice."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fm-bench-")))
        engine = stack.enter_context(any_engine())
        service = stack.enter_context(
            Service(folder, "docker", image_of(engine), engine.url, LOG_LEVEL="INFO")
        )
        for number, times in ((1, 1), (2, 1)) if quick else SIZES:
            found = asyncio.run(measure(service, folder, number, 1 if quick else rounds, times))
            yield from told(number, found)


def told(number: int, found: Round) -> Iterator[Row]:
    """The rows of one size."""
    beside = f"docker-py's create + start, {THREADS} threads"
    yield Row(
        name=f"create + start + first message, {number} at once",
        beside=beside,
        unit="ms",
        ours=found.ours,
        theirs=found.theirs,
        target=TARGET,
        at_least=False,
        limits="the engine's start; ours counts until a Python in the container runs and speaks",
    )
    yield Row(
        name=f"create + start, acknowledged, {number} at once",
        beside=beside,
        unit="ms",
        ours=found.acknowledged,
        theirs=found.theirs,
        limits="the same work of the engine, two inspects and three records on disk",
    )


async def measure(service: Service, folder: Path, number: int, rounds: int, times: int) -> Round:
    """Take turns, after one round that does not count.

    Args:
        times: runs of a side in a round, whose median is the round's figure.
    """
    found = Round()
    async with sides(service, folder) as (ours, bare):
        for turn in range(rounds + 1):
            spoke, acknowledged, theirs = [], [], []
            for _ in range(times):
                first, last = await ours.run(number)
                spoke.append(first)
                acknowledged.append(last)
                theirs.append(await asyncio.to_thread(bare.run, number))
            if turn:
                found.ours.append(median(spoke))
                found.acknowledged.append(median(acknowledged))
                found.theirs.append(median(theirs))
    return found


@asynccontextmanager
async def sides(service: Service, folder: Path) -> AsyncIterator[tuple[Ours, Bare]]:
    """Both sides, of which theirs is made after the image of one of ours."""
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    async with connected(service, "message_received") as client:
        ours = Ours(client, service.image)
        made = await ours.make()
        with docker.APIClient(base_url=service.engine, version="auto", timeout=PATIENCE) as api:
            bare = Bare(service.engine, api.inspect_container(made), empty)
        try:
            await ours.remove([made])
            yield ours, bare
        finally:
            bare.close()


if __name__ == "__main__":
    alone(rows, __doc__)
