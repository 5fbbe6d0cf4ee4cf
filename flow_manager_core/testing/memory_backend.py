"""A container backend in memory, for tests and for host applications that try themselves out.

An image is a coroutine function; ``memory`` is there already (see `memory_programs`). A test gives
its own, by name::

    async def echo(flow: MemoryFlow) -> int:
        stream = await anyio.connect_unix(flow.environment["FLOW_SOCKET"])
        async with stream:
            async for frame in frames(stream):      # what the test's transport speaks
                if frame.command == "crash":
                    return 3                        # the exit code: a crash
                await stream.send(answer(frame))
        return 0

    async with MemoryEngine({"echo": echo, **SCRIPTED}).opened() as engine:
        manager = FlowManager(..., backend=memory_provider(engine))

A program runs until it returns its exit code, raises (code 1, the traceback on stderr), or is
cancelled by a signal (code 128 and the signal's number); `MemoryFlow.catch_terminate` makes it
handle SIGTERM. It finds its channel by the variables of the transport's attachment, as on any
backend. `MemoryEngine.faults` makes methods fail, `MemoryEngine.kill` is a kill from outside,
`MemoryEngine.away` and `MemoryEngine.restart` are outages.
The containers live as long as the engine: a second backend on it adopts them. One container costs
a few kilobytes and a task while it runs, so there can be thousands.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path

import anyio
from attrs import evolve

from flow_manager_core.contracts import (
    Addressable,
    CodeStore,
    CommandRunner,
    ContainerBackend,
    EventMemory,
    LogStreamer,
    ResourceMeter,
)
from flow_manager_core.errors import (
    ContainerNotFound,
    EngineError,
    EngineUnavailable,
    ImageNotFound,
)
from flow_manager_core.events import now
from flow_manager_core.models import (
    CommandOutcome,
    Container,
    ContainerSpec,
    CreatePlan,
    EngineEvent,
    EngineInfo,
    Fault,
    ListedContainer,
    LogLine,
    ResourceUsage,
)
from flow_manager_core.providers import BackendProvider, ProviderContext
from flow_manager_core.testing.memory_container import Box, MemoryFlow, Program
from flow_manager_core.testing.memory_engine import AWAY, MemoryEngine
from flow_manager_core.testing.memory_programs import SCRIPTED
from flow_manager_core.testing.memory_snapshots import MemorySnapshots

__all__ = [
    "SCRIPTED",
    "MemoryBackend",
    "MemoryEngine",
    "MemoryFlow",
    "Program",
    "memory_provider",
]


def memory_provider(engine: MemoryEngine | None = None, name: str = "memory") -> BackendProvider:
    """Make the provider's record.

    Args:
        engine: an open one, shared by all backends; left out: one for each backend's life.
    """

    @asynccontextmanager
    async def factory(context: ProviderContext) -> AsyncIterator[ContainerBackend]:
        if engine is not None:
            yield MemoryBackend(engine, context.core.instance)
            return
        async with MemoryEngine(SCRIPTED).opened() as own:
            yield MemoryBackend(own, context.core.instance)

    return BackendProvider(
        name=name,
        summary="programs are coroutines, for tests",
        factory=factory,
        rank=-100,
    )


#: Seconds between two looks at output that is followed.
LOOK = 0.01


class MemoryBackend(
    MemorySnapshots,
    ContainerBackend,
    EventMemory,
    CodeStore,
    ResourceMeter,
    Addressable,
    CommandRunner,
    LogStreamer,
):
    """One instance's view of a `MemoryEngine`.

    It takes every field of a spec and honours ``image``, ``name``, ``command``, ``environment``
    and ``labels``; its figures of resource use are made up.
    """

    isolated = False

    def __init__(self, engine: MemoryEngine, instance: str) -> None:
        self.engine = engine
        self.instance = instance

    async def ping(self) -> EngineInfo:
        self._fail("ping")
        engine = self.engine
        return EngineInfo(
            name="memory",
            version="1",
            life=f"{engine.since.isoformat()} {engine.lives}",
            since=engine.since,
            keeps_flows=engine.keeps_flows,
        )

    def unsupported(self, spec: ContainerSpec) -> Sequence[Fault]:
        return ()

    async def create(self, plan: CreatePlan) -> Container:
        self._fail("create")
        image = plan.spec.image
        if image not in self.engine.programs:
            raise ImageNotFound(f"No such image: {image}", image=image)
        return self.engine.create(plan, self.instance).seen

    async def start(self, container_id: str) -> None:
        self.engine.start(self._box("start", container_id))

    async def stop(self, container_id: str, timeout: float) -> None:
        await self.engine.stop(self._box("stop", container_id), timeout)
        self._check_answer()

    async def remove(self, container_id: str) -> None:
        await self.engine.remove(self._box("remove", container_id))
        self._check_answer()

    async def inspect(self, container_id: str) -> Container:
        return self._box("inspect", container_id).seen

    async def list(self) -> Sequence[ListedContainer]:
        self._fail("list")
        boxes = self.engine.boxes.get(self.instance, {})
        return [ListedContainer(b.seen.id, b.seen.name, b.seen.state) for b in boxes.values()]

    async def logs(
        self, container_id: str, *, tail: int | None, since: datetime | None
    ) -> Sequence[LogLine]:
        output = self._box("logs", container_id).output
        found = [e for e in output if since is None or e.timestamp >= since]
        return found if tail is None else found[max(0, len(found) - tail) :]

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[EngineEvent]]:
        self._fail("watch")
        return self.engine.fan(self.instance).watch()

    async def recall(self) -> Sequence[EngineEvent]:
        self._fail("recall")
        return self.engine.fan(self.instance).memory

    async def write_code(self, container_id: str, archive: Path) -> None:
        box = self._box("write_code", container_id)
        found: dict[str, bytes] = {}
        try:
            with tarfile.open(archive, "r:") as tar:
                for member in tar:
                    if (content := tar.extractfile(member)) is not None:
                        found[member.name.removeprefix("./")] = content.read()
        except (OSError, tarfile.TarError) as error:
            raise EngineError(f"The archive cannot be read: {error}") from error
        box.code.clear()
        box.code.update(found)

    async def read_code(self, container_id: str, archive: Path) -> None:
        box = self._box("read_code", container_id)
        with tarfile.open(archive, "w") as tar:
            for name, content in box.code.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))

    async def usage(self, container_id: str) -> ResourceUsage | None:
        if self._box("usage", container_id).run is None:
            return None
        if told := self.engine.usages.get(container_id):
            return evolve(told, timestamp=now())
        return ResourceUsage(
            timestamp=now(),
            cpu_percent=1.0,
            memory_usage=1_000_000,
            memory_percent=1.0,
            pids=1,
        )

    async def address(self, container_id: str, port: int) -> tuple[str, int]:
        """See `Addressable.address`: programs in memory listen on this host."""
        self._running("address", container_id)
        return "127.0.0.1", port

    async def run_command(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> CommandOutcome:
        """See `CommandRunner.run_command`; `MemoryEngine.commands` says how it ends."""
        self._running("run_command", container_id)
        found = self.engine.commands.get(command[0], CommandOutcome(127, "not found"))
        if found is None:
            await anyio.sleep(timeout)
            raise TimeoutError
        return found

    async def follow_logs(
        self,
        container_id: str,
        since: datetime | None,
        take: Callable[[Sequence[LogLine]], Awaitable[None]],
    ) -> None:
        """See `LogStreamer.follow_logs`."""
        since, told = since or now(), 0
        while True:
            box = self._box("follow_logs", container_id)
            over = box.run is None
            lines = [line for line in box.output if line.timestamp >= since]
            if lines[told:]:
                await take(lines[told:])
                told = len(lines)
            elif over:
                return
            await anyio.sleep(LOOK)

    def _running(self, method: str, container_id: str) -> None:
        if self._box(method, container_id).run is None:
            raise EngineError("The container does not run", container_id=container_id[:12])

    def _box(self, method: str, container_id: str) -> Box:
        self._fail(method)
        box = self.engine.boxes.get(self.instance, {}).get(container_id)
        if box is None:
            raise ContainerNotFound(
                f"Container not found: {container_id[:12]}",
                container_id=container_id[:12],
            )
        return box

    def _check_answer(self) -> None:
        """Lose the answer of a call that was under way when the engine went away."""
        if self.engine.away:
            raise EngineUnavailable(AWAY)

    def _fail(self, method: str) -> None:
        if self.engine.away:
            raise EngineUnavailable(AWAY, unsent=True)
        if fault := self.engine.faults.get(method):
            raise fault
