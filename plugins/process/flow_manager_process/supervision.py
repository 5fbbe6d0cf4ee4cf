"""Starts and ends runs, notices their ends, and adopts those of earlier lives."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from signal import SIGKILL, SIGTERM

import anyio
from anyio.abc import TaskGroup

from flow_manager_core.errors import EngineError, FlowManagerError
from flow_manager_core.models import EngineEvent, EngineEventKind
from flow_manager_core.providers import ProviderContext
from flow_manager_core.trace import for_nobody
from flow_manager_process.entries import Entries, Entry
from flow_manager_process.identity import boot_id
from flow_manager_process.images import base_environment, environment, resolve
from flow_manager_process.launcher import Launch, launch
from flow_manager_process.records import LOST_ERROR, ExitRecord, RunRecord, lost
from flow_manager_process.runs import ASK, KILL, LiveRun, kill_orphans
from flow_manager_process.settings import ProcessSettings
from flow_manager_process.store import CODE, Store
from flow_manager_process.watchers import Watchers
from flow_manager_process.worker import Worker

#: Starts at once: a start is the processor's work, and there are only so many of those.
START_THREADS = 2 * (os.cpu_count() or 1)
END_THREADS = 4
STUCK = "The kernel ends no process that waits for a disk or a device; look at its state with ps"


class Supervision:
    """The runs of one instance. `running` is its life."""

    def __init__(
        self, context: ProviderContext, store: Store, entries: Entries, watchers: Watchers
    ) -> None:
        self._settings: ProcessSettings = context.settings
        self._timeout = context.core.request_timeout
        self._log = context.log
        self._store = store
        self.entries = entries
        self.watchers = watchers
        self._base = base_environment(self._settings.inherit_environment)
        self._tasks: TaskGroup

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Adopt what is there, and follow runs until left; runs go on after that."""
        self._starts = Worker(START_THREADS, self._timeout + 1)
        self._ends = Worker(END_THREADS, self._timeout)
        failure: Exception | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                await self._adopt()
                yield
            except Exception as error:  # noqa: BLE001 - carried past the task group's wrapping
                failure = error
            finally:
                self._tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def start(self, entry: Entry) -> None:
        """Begin a run of a container that does not run.

        Raises:
            EngineError: it cannot be started; the container stays as it was.
        """
        try:
            order = self._order(entry)
            with anyio.CancelScope(shield=True):
                run = await self._starts.run(partial(launch, order, self._timeout))
                await self._begin(entry, run)
        except EngineError as error:
            entry.error = error.message
            raise

    async def stop(self, entry: Entry, timeout: float) -> None:
        """Ask a run to end, kill it after `timeout` seconds, wait for its end."""
        live = entry.live
        if live is None:
            return
        live.signal(ASK)
        self._tell(entry, EngineEventKind.SIGNALLED, time.time(), SIGTERM)
        with anyio.move_on_after(timeout):
            await live.ended.wait()
        if not live.ended.is_set():
            await self.kill(entry)
        self._tell(entry, EngineEventKind.STOPPED, time.time())

    async def kill(self, entry: Entry) -> None:
        """Kill a run, if there is one, and wait for its end.

        Raises:
            EngineError: it does not end.
        """
        live = entry.live
        if live is None:
            return
        live.signal(KILL)
        self._tell(entry, EngineEventKind.SIGNALLED, time.time(), SIGKILL)
        with anyio.move_on_after(self._settings.kill_timeout):
            await live.ended.wait()
        if not live.ended.is_set():
            live.signal(SIGKILL)
            with anyio.move_on_after(self._timeout):
                await live.ended.wait()
        if not live.ended.is_set():
            told = f"It does not end, {self._timeout:g} s after it was killed"
            raise EngineError(told, retryable=True, hint=STUCK)

    def tell_removed(self, entry: Entry) -> None:
        """Tell the watchers that a container is gone."""
        self._tell(entry, EngineEventKind.REMOVED, time.time())

    def surroundings(self, entry: Entry) -> tuple[dict[str, str], str]:
        """What a container's programs get: their environment and working directory."""
        record = entry.record
        code = str(self._store.folder(record.id) / CODE) if record.coded else None
        variables = environment(record.image, self._base, record.environment)
        return variables, code or record.working_dir or "/"

    def _order(self, entry: Entry) -> Launch:
        record = entry.record
        variables, directory = self.surroundings(entry)
        return Launch(
            folder=self._store.folder(record.id),
            run=entry.run.run + 1 if entry.run else 1,
            executable=resolve(record.image, self._base["PATH"]),
            arguments=record.command,
            environment=variables,
            working_dir=directory,
            limit=self._settings.output_limit,
        )

    async def _begin(self, entry: Entry, run: RunRecord) -> None:
        entry.run, entry.exit, entry.error = run, None, ""
        self._tell(entry, EngineEventKind.STARTED, run.started_ns / 1e9)
        await self._follow(entry, run)

    async def _follow(self, entry: Entry, run: RunRecord) -> None:
        """Watch over a run, or settle its end when it is over already."""
        try:
            entry.live = LiveRun(run)
        except ProcessLookupError:
            await self._settle(entry, run)
        else:
            with for_nobody():
                self._tasks.start_soon(self._attend, entry, entry.live)

    async def _attend(self, entry: Entry, live: LiveRun) -> None:
        try:
            await live.keeper_gone()
            with anyio.CancelScope(shield=True):
                try:
                    await self._settle(entry, live.record)
                finally:
                    live.ended.set()
        finally:
            live.close()

    async def _settle(self, entry: Entry, run: RunRecord) -> None:
        """Learn how a run ended, and tell it."""
        end = await self._learn_end(entry.record.id, run)
        entry.live, entry.exit, entry.sample = None, end, None
        if end.output_lost:
            self._log.warning(
                "Lost output", container_id=entry.record.id[:12], bytes=end.output_lost
            )
        self._tell(entry, EngineEventKind.DIED, end.finished_ns / 1e9)

    async def _learn_end(self, container_id: str, run: RunRecord) -> ExitRecord:
        try:
            return await self._ends.run(partial(self._end_of, container_id, run))
        except FlowManagerError as error:
            self._log.error("Cannot read a run's end", container_id=container_id[:12], error=error)
            return lost(run, error.message)

    def _end_of(self, container_id: str, run: RunRecord) -> ExitRecord:
        end = self._store.read_exit(container_id)
        if end is None or end.run != run.run:
            kill_orphans(run, boot_id)
            end = lost(run, LOST_ERROR)
            self._store.write_exit(container_id, end)
        return end

    async def _adopt(self) -> None:
        for kept in await self._ends.run(self._store.load):
            entry = Entry(kept.record, kept.run)
            self.entries.add(entry)
            if kept.run is None:
                continue
            if kept.exit is not None and kept.exit.run == kept.run.run:
                entry.exit = kept.exit
            else:
                await self._follow(entry, kept.run)

    def _tell(
        self, entry: Entry, kind: EngineEventKind, at: float, signal: int | None = None
    ) -> None:
        event = EngineEvent(kind=kind, container_id=entry.record.id, at=at, signal=signal)
        self.watchers.tell(event)
