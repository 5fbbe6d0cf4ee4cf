"""The backend: containers are folders, runs are processes with a keeper each.

What it knows comes from its own doing and from the keepers; what another process changes in its
folders while it is open is not in view.
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio

from flow_manager_core.contracts import (
    Addressable,
    CodeStore,
    CommandRunner,
    ContainerBackend,
    LogStreamer,
    ResourceMeter,
)
from flow_manager_core.errors import EngineError, SystemFault
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
    PullPolicy,
    Resources,
    ResourceUsage,
)
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings_check import is_loopback
from flow_manager_process.code import archive_code, replace_code
from flow_manager_process.commands import run_command
from flow_manager_process.entries import Entries, Entry
from flow_manager_process.identity import boot_id
from flow_manager_process.images import base_environment, resolve
from flow_manager_process.output import read_output
from flow_manager_process.output_tail import OutputTail
from flow_manager_process.records import ContainerRecord
from flow_manager_process.snapshots import ProcessSnapshots
from flow_manager_process.store import Store, remove_tree
from flow_manager_process.supervision import Supervision
from flow_manager_process.usage import measure
from flow_manager_process.watchers import Watchers
from flow_manager_process.worker import Worker

#: Threads for files (quick) and for code and output (slow), so that a copy delays no create.
QUICK_THREADS, SLOW_THREADS = 4, 4
#: Seconds between two looks at output that is followed.
FOLLOW_INTERVAL = 0.1

NO_WALLS = (
    "The process backend has no walls: whoever may create a container here runs programs as the"
    " manager's own user, and other hosts may ask for it"
)


def engine_info() -> EngineInfo:
    """The engine is this machine: a life of it is a boot."""
    details = {"system": platform.platform()}
    return EngineInfo("process", platform.python_version(), details, life=boot_id())


class ProcessBackend(
    ProcessSnapshots,
    ContainerBackend,
    CodeStore,
    ResourceMeter,
    Addressable,
    CommandRunner,
    LogStreamer,
):
    """Runs flows as processes of this machine and user, without walls between them.

    Make one with `open`.
    """

    isolated = False

    def __init__(self, context: ProviderContext, store: Store, supervision: Supervision) -> None:
        super().__init__()
        self._log = context.log
        self._store = store
        self._runs = supervision
        self._entries = supervision.entries
        self._watchers = supervision.watchers
        self._base = base_environment(context.settings.inherit_environment)
        timeout = context.core.request_timeout
        self._quick = Worker(QUICK_THREADS, timeout)
        self._slow = Worker(SLOW_THREADS, timeout)

    @classmethod
    @asynccontextmanager
    async def open(cls, context: ProviderContext) -> AsyncIterator[ContainerBackend]:
        """Adopt what earlier lives have made; leaving lets it run on.

        Raises:
            SystemFault: the state folder cannot be used.
        """
        if not is_loopback(context.core.host):
            context.log.warning(NO_WALLS, host=context.core.host)
        store = Store(context.core.state_dir / "process", context.core.instance, context.log)
        supervision = Supervision(context, store, Entries(), Watchers())
        async with supervision.running():
            yield cls(context, store, supervision)

    async def ping(self) -> EngineInfo:
        return engine_info()

    def unsupported(self, spec: ContainerSpec) -> Sequence[Fault]:
        given = {
            "volumes": bool(spec.volumes),
            "ports": bool(spec.ports),
            "network": spec.network is not None,
            "user": spec.user is not None,
            "resources": spec.resources != Resources(),
            "pull": spec.pull is not PullPolicy.NEVER,
        }
        told = "not supported by the process backend"
        return [Fault(field, told) for field, present in given.items() if present]

    async def create(self, plan: CreatePlan) -> Container:
        resolve(plan.spec.image, self._base["PATH"])
        record = ContainerRecord.of(plan, secrets.token_hex(32), time.time_ns())
        self._entries.reserve(record.name)
        try:
            await self._quick.finish(partial(self._store.create, record))
        except BaseException:
            self._entries.free(record.name)
            raise
        entry = Entry(record)
        self._entries.add(entry)
        return entry.shown()

    async def start(self, container_id: str) -> None:
        entry = self._entries.get(container_id)
        async with entry.lock:
            if entry.live is None:
                await self._runs.start(self._present(entry))

    async def stop(self, container_id: str, timeout: float) -> None:
        await self._runs.stop(self._entries.get(container_id), timeout)

    async def remove(self, container_id: str) -> None:
        entry = self._entries.get(container_id)
        async with entry.lock:
            await self._runs.kill(self._present(entry))
            scrap = await self._quick.finish(partial(self._store.discard, container_id))
            self._entries.drop(entry)
            self._runs.tell_removed(entry)
        try:
            await self._slow.finish(partial(remove_tree, scrap))
        except SystemFault as error:
            self._log.warning("Left a folder for the next start", folder=scrap, error=str(error))

    async def inspect(self, container_id: str) -> Container:
        return self._entries.get(container_id).shown()

    async def list(self) -> Sequence[ListedContainer]:
        return [entry.listed for entry in self._entries]

    async def logs(
        self, container_id: str, *, tail: int | None, since: datetime | None
    ) -> Sequence[LogLine]:
        folder = self._folder(self._entries.get(container_id))
        return await self._slow.run(partial(read_output, folder, tail, since))

    async def follow_logs(
        self,
        container_id: str,
        since: datetime | None,
        take: Callable[[Sequence[LogLine]], Awaitable[None]],
    ) -> None:
        entry = self._entries.get(container_id)
        tail = OutputTail(self._folder(entry), since or now())
        try:
            while True:
                over = entry.live is None
                lines = await self._slow.run(tail.read)
                if lines:
                    await take(lines)
                elif over:
                    return
                else:
                    await anyio.sleep(FOLLOW_INTERVAL)
        finally:
            tail.close()

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[EngineEvent]]:
        return self._watchers.watch()

    async def write_code(self, container_id: str, archive: Path) -> None:
        entry = self._entries.get(container_id)
        async with entry.lock:
            folder = self._folder(self._resting(entry))
            await self._slow.finish(partial(replace_code, folder, archive))

    async def read_code(self, container_id: str, archive: Path) -> None:
        entry = self._entries.get(container_id)
        async with entry.lock:
            await self._slow.run(partial(archive_code, self._folder(self._present(entry)), archive))

    async def usage(self, container_id: str) -> ResourceUsage | None:
        entry = self._entries.get(container_id)
        if entry.live is None:
            return None
        run = entry.live.record
        usage, sample = await self._quick.run(partial(measure, run.keeper, run.run, entry.sample))
        entry.sample = sample
        return usage

    async def usages(self, container_ids: Sequence[str]) -> Mapping[str, ResourceUsage]:
        """See `ResourceMeter.usages`: all in one thread."""
        wanted = set(container_ids)
        live = [(e, e.live.record) for e in self._entries if e.live and e.record.id in wanted]

        def measure_all() -> dict[str, ResourceUsage]:
            found = {}
            for entry, run in live:
                usage, entry.sample = measure(run.keeper, run.run, entry.sample)
                if usage is not None:
                    found[entry.record.id] = usage
            return found

        return await self._quick.run(measure_all)

    async def address(self, container_id: str, port: int) -> tuple[str, int]:
        """See `Addressable.address`: programs have the host's network."""
        self._live(container_id)
        return "127.0.0.1", port

    async def run_command(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> CommandOutcome:
        entry = self._live(container_id)
        surroundings = self._runs.surroundings(entry)
        async with entry.command_lock:
            return await run_command(command, *surroundings, timeout)

    def _live(self, container_id: str) -> Entry:
        entry = self._entries.get(container_id)
        if entry.live is None:
            raise EngineError("The container does not run", container_id=container_id[:12])
        return entry

    def _entry(self, container_id: str) -> Entry:
        return self._entries.get(container_id)

    def _folder(self, entry: Entry) -> Path:
        return self._store.folder(entry.record.id)

    def _present(self, entry: Entry) -> Entry:
        """Look again, once the lock is held: it may have been removed meanwhile."""
        return self._entries.get(entry.record.id)

    def _resting(self, entry: Entry) -> Entry:
        if self._present(entry).live is not None:
            raise EngineError("The container is running: its code cannot be replaced")
        return entry
