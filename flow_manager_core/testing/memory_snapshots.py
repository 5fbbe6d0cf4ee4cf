"""Backups of containers in memory: their code and files, as a tar."""

from __future__ import annotations

import io
import tarfile
from abc import abstractmethod
from typing import IO, cast

from anyio import to_thread
from attrs import evolve

from flow_manager_core.contracts import PartSink, PartSource, Snapshots
from flow_manager_core.errors import EngineError
from flow_manager_core.models import (
    Attachment,
    ContainerState,
    EngineEventKind,
    Part,
    PartKind,
    Snapshot,
)
from flow_manager_core.testing.memory_container import Box
from flow_manager_core.testing.memory_engine import MemoryEngine

FILES = Part("filesystem", PartKind.FILESYSTEM)


class MemorySnapshots(Snapshots):
    """Half of `MemoryBackend`; the other half says how a container is found."""

    engine: MemoryEngine

    @abstractmethod
    def _box(self, method: str, container_id: str) -> Box:
        """Find a container, unless the method is to fail."""

    async def describe(self, container_id: str, attachment: Attachment) -> Snapshot:
        box = self._box("describe", container_id)
        spec = evolve(box.plan.spec, labels=box.plan.labels, code_path=None)
        return Snapshot(spec=spec, parts=(FILES,))

    async def freeze(self, container_id: str) -> None:
        """Show the container as paused: a coroutine cannot be halted."""
        self._show(self._box("freeze", container_id), ContainerState.PAUSED)

    async def thaw(self, container_id: str) -> None:
        box = self._box("thaw", container_id)
        if box.seen.state is ContainerState.PAUSED:
            self._show(box, ContainerState.RUNNING)

    async def save(self, container_id: str, part: Part, sink: PartSink) -> None:
        box = self._with("save", container_id, part)
        await to_thread.run_sync(sink.write, _pack(box), abandon_on_cancel=True)

    async def ground(self, key: str, snapshot: Snapshot, source: PartSource) -> str:
        return ""

    async def occupied(self, container_id: str, part: Part) -> bool:
        self._with("occupied", container_id, part)
        return False

    async def fill(self, container_id: str, part: Part, source: PartSource) -> None:
        box = self._with("fill", container_id, part)
        found = await to_thread.run_sync(_unpack, source, abandon_on_cancel=True)
        for name, content in found.items():
            folder, _, file = name.partition("/")
            (box.code if folder == "code" else box.files)[file] = content

    async def discard(self, key: str) -> None:
        """There is nothing but the container."""

    def _with(self, method: str, container_id: str, part: Part) -> Box:
        box = self._box(method, container_id)
        if part != FILES:
            raise EngineError(f"The container has no {part.kind} {part.target}".rstrip())
        return box

    def _show(self, box: Box, state: ContainerState) -> None:
        box.seen = evolve(box.seen, state=state)
        self.engine.tell(box, EngineEventKind.CHANGED)


def _pack(box: Box) -> bytes:
    packed = io.BytesIO()
    found = {
        **{f"code/{name}": content for name, content in box.code.items()},
        **{f"files/{name}": content for name, content in box.files.items()},
    }
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in found.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _unpack(source: PartSource) -> dict[str, bytes]:
    with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|") as tar:
        return {
            member.name: content.read()
            for member in tar
            if (content := tar.extractfile(member)) is not None
        }
