"""An engine in memory: its containers' programs are coroutines.

It outlives the backends that use it, as a real engine outlives the manager. Everything happens in
the event loop, nothing waits for a clock, and ids follow from the order of creation.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Literal

import anyio
from anyio.abc import TaskGroup
from attrs import evolve

from flow_manager_core.errors import EngineError
from flow_manager_core.events import now
from flow_manager_core.models import (
    CommandOutcome,
    Container,
    ContainerState,
    CreatePlan,
    EngineEvent,
    EngineEventKind,
    LogLine,
    ResourceUsage,
)
from flow_manager_core.testing.event_fan import EventFan
from flow_manager_core.testing.memory_container import (
    SIGKILL,
    SIGTERM,
    Box,
    MemoryFlow,
    Program,
    Run,
    exit_code,
)

AWAY = "The engine in memory is away"


class MemoryEngine:
    """Holds containers and runs their programs, while its context lasts.

    Args:
        programs: what each image runs.
    """

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self.programs: dict[str, Program] = dict(programs)
        self.boxes: dict[str, dict[str, Box]] = {}
        #: Errors that backends' methods raise, by the method's name, for as long as they are here.
        self.faults: dict[str, Exception] = {}
        #: What `MemoryBackend.usage` says of running containers, by id, instead of its own words.
        self.usages: dict[str, ResourceUsage] = {}
        #: How commands in containers end, by the command's first word: others are not found, and
        #: those with ``None`` do not end.
        self.commands: dict[str, CommandOutcome | None] = {}
        #: What `MemoryBackend.ping` says of it; `restart` sets it.
        self.keeps_flows: bool = True
        self.lives: int = 1
        self.since: datetime = now()
        self._away = False
        self._names: set[str] = set()
        self._fans: dict[str, EventFan] = {}
        self._tasks: TaskGroup | None = None
        self._made = 0
        self._time = now()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[MemoryEngine]:
        """Be there; programs that still run are cancelled at the end."""
        failure: Exception | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                yield self
            except Exception as error:  # noqa: BLE001 - carried past the task group's wrapping
                failure = error
            finally:
                self._tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    @property
    def away(self) -> bool:
        """Whether it cannot be reached; set it to make all calls and event streams fail.

        What happens meanwhile is remembered, as by an engine that is only out of reach.
        """
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = away
        if away:
            for fan in self._fans.values():
                fan.break_off(AWAY)

    async def restart(self, *, ends_flows: bool, remembers: bool = False) -> None:
        """End this life of the engine and begin another one, which can be reached at once.

        Args:
            ends_flows: whether runs end, by SIGTERM, as Docker's do without live-restore.
            remembers: whether the new life tells those ends, as after a kill of the engine;
                otherwise they leave no event, as when it stopped in order.
        """
        self.away = True
        if remembers:
            self._forget()
        if ends_flows:
            await self._end_flows()
        if not remembers:
            self._forget()
        self.keeps_flows = not ends_flows
        self.lives += 1
        if ends_flows:
            self.since = self._tick()
        self.away = False

    def _forget(self) -> None:
        for fan in self._fans.values():
            fan.forget()

    async def _end_flows(self) -> None:
        for box in [box for boxes in self.boxes.values() for box in boxes.values()]:
            if (run := box.run) is not None:
                self.tell(box, EngineEventKind.SIGNALLED, SIGTERM)
                box.killed_by = SIGTERM
                run.scope.cancel()
                await run.ended.wait()
                self.tell(box, EngineEventKind.STOPPED)

    def fan(self, instance: str) -> EventFan:
        """The events of one instance's containers."""
        return self._fans.setdefault(instance, EventFan())

    def create(self, plan: CreatePlan, instance: str) -> Box:
        """Make a container; its image is known to exist.

        Raises:
            EngineError: the name is in use.
        """
        name = plan.spec.name
        if name in self._names:
            raise EngineError(f'The name "{name}" is already in use', name=name)
        self._made += 1
        container_id = hashlib.sha256(str(self._made).encode()).hexdigest()
        seen = Container(
            id=container_id,
            name=name,
            image=plan.spec.image,
            state=ContainerState.CREATED,
            created=self._tick(),
            labels=dict(plan.labels),
        )
        box = Box(plan, seen, instance)
        self._names.add(name)
        self.boxes.setdefault(instance, {})[container_id] = box
        return box

    def start(self, box: Box) -> None:
        """Begin a run, unless one is under way.

        Raises:
            EngineError: the program cannot be started.
        """
        if box.run is not None:
            return
        flow = self._flow(box)
        try:
            awaitable = self.programs[box.plan.spec.image](flow)
        except EngineError as error:
            box.seen = evolve(box.seen, error=error.message)
            raise
        assert self._tasks is not None, "the engine is not open"
        box.run = Run(flow)
        box.seen = evolve(
            box.seen,
            state=ContainerState.RUNNING,
            started_at=self._tick(),
            finished_at=None,
            exit_code=None,
            error="",
        )
        self.tell(box, EngineEventKind.STARTED)
        self._tasks.start_soon(self._live, box, box.run, awaitable)

    async def stop(self, box: Box, timeout: float) -> None:
        """Ask the program to end, kill it after `timeout` seconds, wait for the end."""
        if (run := box.run) is None:
            return
        self.kill(box, SIGTERM)
        with anyio.move_on_after(timeout):
            await run.ended.wait()
        if not run.ended.is_set():
            self.kill(box, SIGKILL)
            await run.ended.wait()
        self.tell(box, EngineEventKind.STOPPED)

    def kill(self, box: Box, signal: int) -> None:
        """Send a signal to the program, as anybody may from outside."""
        if box.run is None:
            return
        self.tell(box, EngineEventKind.SIGNALLED, signal)
        if signal == SIGTERM and box.run.flow.terminate():
            return
        box.killed_by = signal
        box.run.scope.cancel()

    async def remove(self, box: Box) -> None:
        """Kill what runs and forget the container."""
        if (run := box.run) is not None:
            self.kill(box, SIGKILL)
            await run.ended.wait()
        if self.boxes[box.instance].pop(box.seen.id, None) is not None:
            self._names.discard(box.seen.name)
            self.tell(box, EngineEventKind.REMOVED)

    async def _live(self, box: Box, run: Run, awaitable: Awaitable[int | None]) -> None:
        code = 128 + SIGKILL
        try:
            with run.scope:
                code = await exit_code(run.flow, awaitable)
            if run.scope.cancelled_caught:
                code = 128 + box.killed_by
        finally:
            box.run = None
            box.seen = evolve(
                box.seen,
                state=ContainerState.EXITED,
                finished_at=self._tick(),
                exit_code=code,
            )
            self.tell(box, EngineEventKind.DIED)
            run.ended.set()

    def _flow(self, box: Box) -> MemoryFlow:
        def print_line(line: str, stream: Literal["stdout", "stderr"]) -> None:
            box.output.append(LogLine(self._tick(), stream, line))

        plan = box.plan
        return MemoryFlow(
            name=plan.spec.name,
            command=plan.spec.command or (),
            environment={**plan.spec.environment, **plan.attachment.environment},
            code=box.code,
            files=box.files,
            print_line=print_line,
        )

    def _tick(self) -> datetime:
        """The wall clock, but never the same twice: a start names its run."""
        self._time = max(now(), self._time + timedelta(microseconds=1))
        return self._time

    def tell(self, box: Box, kind: EngineEventKind, signal: int | None = None) -> None:
        """Publish an event of a container."""
        at = self._tick().timestamp()
        event = EngineEvent(kind=kind, container_id=box.seen.id, at=at, signal=signal)
        self.fan(box.instance).publish(event)
