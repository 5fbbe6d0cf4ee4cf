"""What a backend may be able to do besides; import it from `contracts`, inherit from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from flow_manager_core.models import (
    CommandOutcome,
    Container,
    EngineEvent,
    EngineInfo,
    LogLine,
    PullProgress,
    ResourceUsage,
)


class EventMemory(ABC):
    """A backend whose engine remembers its latest events."""

    @abstractmethod
    async def recall(self) -> Sequence[EngineEvent]:
        """Tell what the engine remembers of this instance's containers, oldest first."""


class ImagePuller(ABC):
    """A backend that can fetch images."""

    @abstractmethod
    async def has_image(self, image: str) -> bool:
        """Tell whether the engine has the image."""

    @abstractmethod
    async def pull(self, image: str, report: Callable[[PullProgress], None]) -> None:
        """Fetch an image; `report` is called in the event loop, a few times a second at most.

        Raises:
            ImageNotFound: the registry does not have it or does not let us.
            EngineError: the registry is away.
        """


class CodeStore(ABC):
    """A backend that can keep a code folder at the container's working directory.

    An archive is an uncompressed tar whose names are relative to the code folder.
    """

    @abstractmethod
    async def write_code(self, container_id: str, archive: Path) -> None:
        """Replace the whole code folder with the archive's content. The container does not run."""

    @abstractmethod
    async def read_code(self, container_id: str, archive: Path) -> None:
        """Write the code folder into a new archive. The container does not run."""


class HostPaths(ABC):
    """A backend whose containers see files and folders of the host: `Container.mounts`.

    An engine looks a mount's source up anew at every start, and whoever can write to the folder
    above it may have put a link there. So the manager asks, after each start, what came of it.
    """

    @abstractmethod
    async def kept(self) -> Sequence[Path]:
        """Name what no container may have of the host: the engine's own sockets and data.

        Raises:
            EngineUnavailable: the engine does not say where they are.
        """

    @abstractmethod
    async def mounted(self, container_id: str) -> Sequence[tuple[str, Sequence[Path]]] | None:
        """Tell what the run under way really sees of the host, as the kernel has it.

        Returns:
            For each thing that is mounted at or below a target of `Container.mounts`, where it is
            mounted, and every real path that it has on the host, none if it cannot be named.
            ``None`` when nothing runs, or when the engine's containers cannot be seen from here.

        Raises:
            ContainerNotFound: there is no such container.
        """


class ResourceMeter(ABC):
    """A backend that can tell cheaply what a running container uses."""

    @abstractmethod
    async def usage(self, container_id: str) -> ResourceUsage | None:
        """Measure now, within milliseconds; ``None`` when it does not run or cannot be seen."""

    async def usages(self, container_ids: Sequence[str]) -> Mapping[str, ResourceUsage]:
        """Measure many in one go, for the monitoring's rounds; those that cannot be are left out.

        A backend whose single measurement costs a thread or a call does better than this.
        """
        found = {each: await self.usage(each) for each in container_ids}
        return {each: usage for each, usage in found.items() if usage is not None}


class Addressable(ABC):
    """A backend whose containers' ports can be reached from where the manager runs."""

    @abstractmethod
    async def address(self, container_id: str, port: int) -> tuple[str, int]:
        """Say where a container's TCP port is reached: a host and a port.

        Raises:
            ContainerNotFound: there is no such container.
            EngineError: it does not run, or cannot be reached.
        """


class CommandRunner(ABC):
    """A backend that can run a command in a running container, beside its program."""

    @abstractmethod
    async def run_command(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> CommandOutcome:
        """Run a command to its end, as the container's user, in its environment.

        At most one command of this call's is ever there in a container: what is not done in time
        is killed where that can be, and no further one begins before it is gone.

        Raises:
            ContainerNotFound: there is no such container.
            EngineError: it does not run, or the engine refuses.
            TimeoutError: it was not done in `timeout` seconds, or the last command is still there.
        """


class LogStreamer(ABC):
    """A backend that can follow a container's output."""

    @abstractmethod
    async def follow_logs(
        self,
        container_id: str,
        since: datetime | None,
        take: Callable[[Sequence[LogLine]], Awaitable[None]],
    ) -> None:
        """Hand over the output as it comes, in the order of each stream; return at the run's end.

        Args:
            since: lines at or after this moment; ``None``: those from now on.
            take: gets some lines at a time, never two calls at once. While it waits, the output is
                held back, and nothing else is.

        Raises:
            ContainerNotFound: there is no such container.
            EngineError: the stream broke; the caller may follow again from the last line's time.
        """


class Onlooker(ABC):
    """Looks at an engine and its containers for the doctor, beside whatever works with them.

    It takes no claim, makes and changes nothing, and works while a manager runs and while none
    does. `BackendProvider.onlook` gives one. Where something cannot be seen for a reason that a
    check of the provider's or of the core's tells anyway, a method raises `findings.NotExamined`.
    """

    #: As of the backend: see `ContainerBackend.isolated`.
    isolated: bool = True

    @abstractmethod
    async def ping(self) -> EngineInfo:
        """See `ContainerBackend.ping`.

        Raises:
            EngineUnavailable: it does not answer, or does not let us; its hint says what to do.
        """

    @abstractmethod
    async def containers(self) -> Sequence[Container]:
        """Look at all containers of this instance."""

    @abstractmethod
    async def names(self) -> Sequence[str]:
        """Name all containers that the engine has of any instance of the manager."""

    @abstractmethod
    async def tail(self, container_id: str, lines: int) -> Sequence[LogLine]:
        """Read the last lines of a container's output."""

    @abstractmethod
    async def has_image(self, image: str) -> bool:
        """Tell whether a container could be made of this image without fetching anything."""
