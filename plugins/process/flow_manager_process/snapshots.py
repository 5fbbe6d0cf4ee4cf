"""The ability to back up and restore: what a container has is its folder."""

from __future__ import annotations

import math
import os
import signal
from abc import abstractmethod
from functools import partial
from pathlib import Path

from flow_manager_core.contracts import PartSink, PartSource, Snapshots
from flow_manager_core.errors import EngineError
from flow_manager_core.models import Attachment, ContainerSpec, Part, PartKind, Snapshot
from flow_manager_process.entries import Entry
from flow_manager_process.identity import start_ticks
from flow_manager_process.records import ContainerRecord
from flow_manager_process.trees import read_tree, write_tree
from flow_manager_process.worker import Worker

#: Threads for transfers, which may take as long as something moves.
TRANSFERS = 2


class ProcessSnapshots(Snapshots):
    """Half of the backend; the other half says how a container is found."""

    def __init__(self) -> None:
        self._transfers = Worker(TRANSFERS, math.inf)

    @abstractmethod
    def _entry(self, container_id: str) -> Entry:
        """Find a container."""

    @abstractmethod
    def _folder(self, entry: Entry) -> Path:
        """Where its files are."""

    async def describe(self, container_id: str, attachment: Attachment) -> Snapshot:
        record = self._entry(container_id).record
        if record.coded:
            return Snapshot(spec=_spec(record, attachment), parts=(_FILES,))
        told = f"filesystem: it works in the host's folder {record.working_dir}"
        return Snapshot(spec=_spec(record, attachment), left_out=(told,))

    async def freeze(self, container_id: str) -> None:
        """See `Snapshots.freeze`: the program's process group, so all that did not leave it."""
        self._signal(container_id, signal.SIGSTOP)

    async def thaw(self, container_id: str) -> None:
        self._signal(container_id, signal.SIGCONT)

    async def save(self, container_id: str, part: Part, sink: PartSink) -> None:
        folder = self._folder(self._with(container_id, part))
        await self._transfers.run(partial(write_tree, folder, sink))

    async def ground(self, key: str, snapshot: Snapshot, source: PartSource) -> str:
        """See `Snapshots.ground`: files are in the container's folder, which is made with it."""
        return ""

    async def occupied(self, container_id: str, part: Part) -> bool:
        """See `Snapshots.occupied`: there is no place but the container's own."""
        self._with(container_id, part)
        return False

    async def fill(self, container_id: str, part: Part, source: PartSource) -> None:
        folder = self._folder(self._with(container_id, part))
        await self._transfers.run(partial(read_tree, folder, source))

    async def discard(self, key: str) -> None:
        """See `Snapshots.discard`: `ground` made nothing."""

    def _with(self, container_id: str, part: Part) -> Entry:
        entry = self._entry(container_id)
        if part != _FILES:
            raise EngineError(f"The container has no {part.kind} {part.target}".rstrip())
        return entry

    def _signal(self, container_id: str, number: signal.Signals) -> None:
        live = self._entry(container_id).live
        if live is not None and start_ticks(live.record.pid) == live.record.pid_ticks:
            os.killpg(live.record.pid, number)


_FILES = Part("filesystem", PartKind.FILESYSTEM)


def _spec(record: ContainerRecord, attachment: Attachment) -> ContainerSpec:
    variables = record.environment.items()
    return ContainerSpec(
        image=record.image,
        name=record.name,
        environment={k: v for k, v in variables if k not in attachment.environment},
        command=record.command or None,
        working_dir=record.working_dir,
        labels=record.labels,
    )
