"""A backend of one's own, with every optional ability."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from flow_manager_core import BackendProvider, ProviderContext
from flow_manager_core.contracts import (
    CodeStore,
    ContainerBackend,
    EventMemory,
    ImagePuller,
    ResourceMeter,
)
from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.models import (
    Container,
    ContainerSpec,
    ContainerState,
    CreatePlan,
    EngineEvent,
    EngineEventKind,
    EngineInfo,
    Fault,
    ListedContainer,
    LogLine,
    PullProgress,
    ResourceUsage,
)


@frozen
class MySettings:
    address: str = "localhost"


class MyBackend(ContainerBackend, EventMemory, ImagePuller, CodeStore, ResourceMeter):
    isolated = False

    def __init__(self, settings: MySettings) -> None:
        self._settings = settings
        self._found: dict[str, Container] = {}

    async def ping(self) -> EngineInfo:
        return EngineInfo(name=self._settings.address, version="1")

    def unsupported(self, spec: ContainerSpec) -> Sequence[Fault]:
        return [Fault("user", "cannot be chosen")] if spec.user else []

    async def create(self, plan: CreatePlan) -> Container:
        spec, now = plan.spec, datetime.now(UTC)
        made = Container(
            id=spec.name,
            name=spec.name,
            image=spec.image,
            state=ContainerState.CREATED,
            created=now,
        )
        self._found[made.id] = made
        return made

    async def start(self, container_id: str) -> None: ...

    async def stop(self, container_id: str, timeout: float) -> None: ...

    async def remove(self, container_id: str) -> None:
        del self._found[container_id]

    async def inspect(self, container_id: str) -> Container:
        if container_id not in self._found:
            raise ContainerNotFound("Container not found", container_id=container_id)
        return self._found[container_id]

    async def list(self) -> Sequence[ListedContainer]:
        return [ListedContainer(c.id, c.name, c.state) for c in self._found.values()]

    async def logs(
        self, container_id: str, *, tail: int | None, since: datetime | None
    ) -> Sequence[LogLine]:
        return [LogLine(datetime.now(UTC), "stdout", "ready")][: tail or 1]

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[EngineEvent]]:
        return self._watched()

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        async def events() -> AsyncIterator[EngineEvent]:
            yield EngineEvent(kind=EngineEventKind.DIED, container_id="one", at=1.0)

        yield events()

    async def recall(self) -> Sequence[EngineEvent]:
        return ()

    async def has_image(self, image: str) -> bool:
        return True

    async def pull(self, image: str, report: Callable[[PullProgress], None]) -> None:
        report(PullProgress(image, "downloading", current=1, total=2))

    async def write_code(self, container_id: str, archive: Path) -> None: ...

    async def read_code(self, container_id: str, archive: Path) -> None: ...

    async def usage(self, container_id: str) -> ResourceUsage | None:
        return ResourceUsage(timestamp=datetime.now(UTC), pids=1)


@asynccontextmanager
async def opened(context: ProviderContext) -> AsyncIterator[ContainerBackend]:
    settings: MySettings = context.settings
    context.log.info("Opened", address=settings.address, instance=context.core.instance)
    yield MyBackend(settings)


async def probe(context: ProviderContext) -> str | None:
    return None if context.core.instance else "there is no instance"


PROVIDER = BackendProvider(
    name="mine", settings_class=MySettings, factory=opened, rank=1, probe=probe
)


class Incomplete(ContainerBackend):
    async def ping(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return "pong"

    def start(self, container_id: str) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


async def unusual(context: ProviderContext) -> ContainerBackend:
    return MyBackend(context.settings)


Incomplete()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
BackendProvider("mine", factory=opened)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
BackendProvider(name="mine")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
BackendProvider(name="mine", factory=unusual)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
BackendProvider(name="mine", factory=MyBackend)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ListedContainer("1", "one", "running")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
LogLine(datetime.now(UTC), "stdin", "")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
