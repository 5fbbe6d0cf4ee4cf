"""What the backend knows of its containers, in memory: the disk is read once, when it opens."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
from attrs import define, field

from flow_manager_core.errors import ContainerNotFound, EngineError
from flow_manager_core.models import Container, ContainerState, ListedContainer
from flow_manager_process.records import ContainerRecord, ExitRecord, RunRecord, moment
from flow_manager_process.runs import LiveRun
from flow_manager_process.usage import Sample


@define
class Entry:
    """One container.

    Args:
        run: the latest run; ``None`` before the first.
        exit: how the latest run ended; ``None`` while it is under way.
        live: the latest run while it is under way.
        error: why the latest start failed.
        lock: held by whatever changes the container.
        command_lock: held by a command that runs beside the program.
    """

    record: ContainerRecord
    run: RunRecord | None = None
    exit: ExitRecord | None = None
    live: LiveRun | None = None
    error: str = ""
    sample: Sample | None = None
    lock: anyio.Lock = field(factory=anyio.Lock)
    command_lock: anyio.Lock = field(factory=anyio.Lock)

    @property
    def state(self) -> ContainerState:
        """What the container is doing."""
        if self.run is None:
            return ContainerState.CREATED
        return ContainerState.EXITED if self.live is None else ContainerState.RUNNING

    @property
    def listed(self) -> ListedContainer:
        """Its line in the listing."""
        return ListedContainer(self.record.id, self.record.name, self.state)

    def shown(self) -> Container:
        """What `inspect` says."""
        record, run, end = self.record, self.run, self.exit
        return Container(
            id=record.id,
            name=record.name,
            image=record.image,
            state=self.state,
            created=moment(record.created_ns),
            started_at=moment(run.started_ns) if run else None,
            finished_at=moment(end.finished_ns) if end else None,
            exit_code=end.code if end else None,
            error=self.error or (end.error if end else ""),
            labels=dict(record.labels),
        )


class Entries:
    """All containers of the instance, by id; names are given once."""

    def __init__(self) -> None:
        self._by_id: dict[str, Entry] = {}
        self._names: set[str] = set()

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._by_id.values()))

    def get(self, container_id: str) -> Entry:
        """Find a container.

        Raises:
            ContainerNotFound: there is none of that id.
        """
        entry = self._by_id.get(container_id)
        if entry is None:
            short = container_id[:12]
            raise ContainerNotFound(f"Container not found: {short}", container_id=short)
        return entry

    def reserve(self, name: str) -> None:
        """Take a name for a container to come.

        Raises:
            EngineError: it is in use.
        """
        if name in self._names:
            raise EngineError(f'The name "{name}" is already in use by a container', name=name)
        self._names.add(name)

    def free(self, name: str) -> None:
        """Give a name back."""
        self._names.discard(name)

    def add(self, entry: Entry) -> None:
        """Admit a container and its name."""
        self._names.add(entry.record.name)
        self._by_id[entry.record.id] = entry

    def drop(self, entry: Entry) -> None:
        """Forget a container and free its name."""
        del self._by_id[entry.record.id]
        self.free(entry.record.name)
