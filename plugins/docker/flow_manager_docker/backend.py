"""The backend: one short method for each of the contracts' methods."""

from __future__ import annotations

import builtins
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from flow_manager_core.contracts import (
    Addressable,
    CodeStore,
    CommandRunner,
    ContainerBackend,
    EventMemory,
    HostPaths,
    ImagePuller,
    LogStreamer,
    ResourceMeter,
)
from flow_manager_core.errors import ContainerNotFound, ImageNotFound, InvalidRequest
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
    PullProgress,
    ResourceUsage,
)
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_docker import watching
from flow_manager_docker.addresses import address_of
from flow_manager_docker.calls import MARGIN, EngineCalls, after_sending, within
from flow_manager_docker.claim import claimed
from flow_manager_docker.client import EngineClient
from flow_manager_docker.code_store import CodeFolder
from flow_manager_docker.command_check import CommandCheck
from flow_manager_docker.commands import ContainerCommands
from flow_manager_docker.create_arguments import (
    code_dir,
    create_arguments,
    image_faults,
    unsupported,
)
from flow_manager_docker.dialects import mount_faults
from flow_manager_docker.engine_places import engine_places
from flow_manager_docker.errors_map import ENGINE_FAILURES, Subject, container_not_found, translate
from flow_manager_docker.host_mounts import seen_by
from flow_manager_docker.inspect_reading import read_container, read_listed
from flow_manager_docker.labels import INSTANCE, own_filter
from flow_manager_docker.log_following import Following, Take
from flow_manager_docker.log_reading import bounded_tail, log_parameters, read_lines
from flow_manager_docker.pulling import Pull
from flow_manager_docker.pulse import Pulse
from flow_manager_docker.recalling import recall
from flow_manager_docker.resources import Resources, group_of_streams
from flow_manager_docker.settings import DockerSettings
from flow_manager_docker.snapshot_calls import DockerSnapshots

T = TypeVar("T")

#: Values shorter than this are too common in the engine's own words to be blotted out of them.
SECRET_LENGTH = 4


class DockerBackend(
    DockerSnapshots,
    ContainerBackend,
    EventMemory,
    ImagePuller,
    CodeStore,
    HostPaths,
    ResourceMeter,
    Addressable,
    CommandRunner,
    LogStreamer,
):
    """Containers of the engine that ``DOCKER_HOST`` names; by default the local one.

    Args:
        settings: the plugin's own.
        core: the manager's; of it `instance` and the timeouts count.
        group: holds what follows the engine beside the calls.
    """

    isolated = True

    def __init__(self, settings: DockerSettings, core: Settings, group: TaskGroup) -> None:
        self._settings = settings
        self._core = core
        self._calls = EngineCalls(settings, core.request_timeout)
        self._pulls = anyio.CapacityLimiter(settings.pull_threads)
        # The manager limits the followings; this one keeps them out of the other calls' way.
        self._follows = anyio.CapacityLimiter(math.inf)
        self._pulse = Pulse(core.request_timeout)
        self._resources = Resources(self._calls, settings, core, self._inspect_own, group)
        self._commands = CommandCheck()
        self._runner = ContainerCommands()
        # Full ids known to carry our label: labels cannot change, and ids are never used again.
        self._own: set[str] = set()
        self._data: str | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, context: ProviderContext) -> AsyncIterator[ContainerBackend]:
        """One life of the backend. The engine may be away: calls will say so.

        Raises:
            ConfigurationError: another manager has the instance on this engine.
        """
        with claimed(context.core.instance, context.log):
            async with group_of_streams() as group:
                backend = cls(context.settings, context.core, group)
                try:
                    yield backend
                finally:
                    backend.close()

    def close(self) -> None:
        """Close the idle connections."""
        self._calls.close()

    async def ping(self) -> EngineInfo:
        """See `ContainerBackend.ping`."""
        return await self._pulse.ask()

    def unsupported(self, spec: ContainerSpec) -> Sequence[Fault]:
        """See `ContainerBackend.unsupported`."""
        return unsupported(spec, self._settings)

    async def create(self, plan: CreatePlan) -> Container:
        """See `ContainerBackend.create`.

        Raises:
            InvalidRequest: the image's own working directory cannot take the code, or the engine
                would take a mount for another one.
        """
        spec = plan.spec
        secrets = {**spec.environment, **plan.attachment.environment}.values()
        hidden = tuple(v for v in secrets if len(v) >= SECRET_LENGTH)
        subject = Subject(name=spec.name, image=spec.image, secrets=hidden)
        code = await self._code_dir(spec, subject) if spec.code_path is not None else None
        body = create_arguments(plan, self._settings, code)

        def make(client: EngineClient) -> dict[str, Any]:
            if faults := mount_faults(client.dialect, (*spec.volumes, *plan.attachment.mounts)):
                raise InvalidRequest(faults)
            found: dict[str, Any] = client.api.create_container_from_config(body, name=spec.name)
            return found

        made = await self._calls.quick(make, subject)
        self._commands.made(made["Id"], plan)
        with after_sending():
            return await self.inspect(made["Id"])

    async def _code_dir(self, spec: ContainerSpec, subject: Subject) -> str:
        image = await self._calls.quick(lambda c: c.api.inspect_image(spec.image), subject)
        path = code_dir(spec, image["Config"].get("WorkingDir", ""))
        if faults := image_faults(spec, path, image["Config"].get("Volumes") or ()):
            raise InvalidRequest(faults)
        return path

    async def start(self, container_id: str) -> None:
        """See `ContainerBackend.start`."""
        found = await self._inspect(container_id)
        subject = Subject(container_id=container_id, starting=True)

        def run(client: EngineClient) -> None:
            self._commands.check(client, found)
            client.api.start(container_id)

        await self._calls.start(run, subject)

    async def stop(self, container_id: str, timeout: float) -> None:
        """See `ContainerBackend.stop`; the engine counts in whole seconds."""
        await self._check_own(container_id)
        seconds = math.ceil(timeout)
        subject = Subject(container_id=container_id)
        await self._calls.slow(
            lambda c: c.api.stop(container_id, timeout=seconds), subject, extra=seconds
        )

    async def remove(self, container_id: str) -> None:
        """See `ContainerBackend.remove`; anonymous volumes go as well."""
        await self._check_own(container_id)
        subject = Subject(container_id=container_id)
        await self._calls.slow(
            lambda c: c.api.remove_container(container_id, v=True, force=True), subject
        )
        self._own.discard(container_id)
        self._resources.forget(container_id)
        self._commands.gone(container_id)
        self._runner.forget(container_id)

    async def inspect(self, container_id: str) -> Container:
        """See `ContainerBackend.inspect`."""
        return self._commands.with_refusal(read_container(await self._inspect(container_id)))

    async def list(self) -> Sequence[ListedContainer]:
        """See `ContainerBackend.list`."""
        filters = {"label": own_filter(self._core.instance)}
        found = await self._calls.quick(
            lambda c: c.api.containers(all=True, filters=filters), Subject()
        )
        self._own = {entry["Id"] for entry in found}
        return [read_listed(entry) for entry in found]

    async def logs(
        self, container_id: str, *, tail: int | None, since: datetime | None
    ) -> Sequence[LogLine]:
        """See `ContainerBackend.logs`; `log_reading` names the bounds."""
        await self._check_own(container_id)
        wanted = bounded_tail(tail)
        path = f"/containers/{quote(container_id, safe='')}/logs"

        def read(client: EngineClient) -> builtins.list[LogLine]:
            query = log_parameters(wanted, since, client.dialect)
            with client.open("GET", path, params=query) as stream:
                return read_lines(stream.chunks(), wanted)

        return await self._calls.quick(read, Subject(container_id=container_id))

    async def follow_logs(self, container_id: str, since: datetime | None, take: Take) -> None:
        """See `LogStreamer.follow_logs`."""
        await self._check_own(container_id)
        timeout = self._core.request_timeout + MARGIN
        try:
            await Following(container_id, since, take).run(self._follows, timeout)
        except ENGINE_FAILURES as error:
            raise translate(error, Subject(container_id=container_id)) from error

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[EngineEvent]]:
        """See `ContainerBackend.watch`."""
        return watching.watch(self._core.instance, self._core.request_timeout)

    async def recall(self) -> Sequence[EngineEvent]:
        """See `EventMemory.recall`: of all containers' events, the engine keeps the last 256."""
        return await self._calls.quick(lambda c: recall(c, self._core.instance), Subject())

    async def has_image(self, image: str) -> bool:
        """See `ImagePuller.has_image`."""
        try:
            await self._calls.quick(lambda c: c.api.inspect_image(image), Subject(image=image))
        except ImageNotFound:
            return False
        return True

    async def pull(self, image: str, report: Callable[[PullProgress], None]) -> None:
        """See `ImagePuller.pull`."""
        with within(self._core.pull_timeout, Subject(image=image, pulling=True)):
            await Pull(image, report, self._settings.pull_stall_timeout).run(self._pulls)

    async def write_code(self, container_id: str, archive: Path) -> None:
        """See `CodeStore.write_code`.

        Raises:
            EngineError: the archive holds what is no code, or the container has no code folder.
        """
        timeout = self._settings.archive_timeout
        folder = CodeFolder.of(await self._inspect(container_id))
        await self._transfer(container_id, lambda c: folder.write(c, archive, timeout))
        await self._was_open()

    async def read_code(self, container_id: str, archive: Path) -> None:
        """See `CodeStore.read_code`.

        Raises:
            EngineError: the folder is over the operator's limit, or there is none.
        """
        timeout, limit = self._settings.archive_timeout, self._settings.code_limit
        folder = CodeFolder.of(await self._inspect(container_id))
        await self._transfer(container_id, lambda c: folder.read(c, archive, timeout, limit))
        await self._was_open()

    async def _was_open(self) -> None:
        """Believe what the engine said of files: one that closes has unmounted its containers.

        It finds no file then, and loses what is written. It takes no new connection by that time.

        Raises:
            EngineUnavailable: it is closing, or gone.
        """
        await self._pulse.ask()

    async def kept(self) -> Sequence[Path]:
        """See `HostPaths.kept`; the engine is asked once where its data are."""
        if self._data is None:
            info = await self._calls.quick(lambda c: c.api.info(), Subject())
            self._data = str(info.get("DockerRootDir") or "")
        return await to_thread.run_sync(engine_places, self._data)

    async def mounted(self, container_id: str) -> Sequence[tuple[str, Sequence[Path]]] | None:
        """See `HostPaths.mounted`; ``None`` for an engine on another host, too."""
        subject = Subject(container_id=container_id)
        return await self._calls.quick(lambda c: self._mounted(c, container_id), subject)

    def _mounted(
        self, client: EngineClient, container_id: str
    ) -> Sequence[tuple[str, Sequence[Path]]] | None:
        found = self._inspect_own(client, container_id)
        process = Path("/proc", str(found["State"]["Pid"] or "none"))
        targets = [mount.target for mount in read_container(found).mounts]
        return seen_by(process, found["Id"], targets) if client.local else None

    async def usage(self, container_id: str) -> ResourceUsage | None:
        """See `ResourceMeter.usage`; of an engine on another host, what it told last."""
        await self._check_own(container_id)
        return (await self._resources.measure([container_id])).get(container_id)

    async def usages(self, container_ids: Sequence[str]) -> Mapping[str, ResourceUsage]:
        """See `ResourceMeter.usages`."""
        ours = [each for each in container_ids if await self._is_own(each)]
        return await self._resources.measure(ours)

    async def address(self, container_id: str, port: int) -> tuple[str, int]:
        """See `Addressable.address`: by the engine's networks, else by a published port."""
        subject = Subject(container_id=container_id)

        def find(client: EngineClient) -> tuple[str, int]:
            found = self._inspect_own(client, container_id)
            return address_of(found, port, client.host)

        return await self._calls.quick(find, subject)

    async def run_command(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> CommandOutcome:
        """See `CommandRunner.run_command`."""
        await self._check_own(container_id)
        subject = Subject(container_id=container_id)

        def run(client: EngineClient) -> CommandOutcome | None:
            try:
                return self._runner.run(client, container_id, command, timeout)
            except TimeoutError:
                return None

        outcome = await self._calls.command(run, subject, extra=timeout)
        if outcome is None:
            raise TimeoutError
        return outcome

    async def _transfer(self, container_id: str, work: Callable[[EngineClient], T]) -> T:
        return await self._calls.transfer(work, Subject(container_id=container_id))

    async def _inspect(self, container_id: str) -> dict[str, Any]:
        subject = Subject(container_id=container_id)
        return await self._calls.quick(lambda c: self._inspect_own(c, container_id), subject)

    async def _check_own(self, container_id: str) -> None:
        if container_id not in self._own:
            await self._inspect(container_id)

    async def _is_own(self, container_id: str) -> bool:
        try:
            await self._check_own(container_id)
        except ContainerNotFound:
            return False
        return True

    def _inspect_own(self, client: EngineClient, container_id: str) -> dict[str, Any]:
        return self._checked(client.inspect(container_id), container_id)

    def _checked(self, found: dict[str, Any], container_id: str) -> dict[str, Any]:
        """Return what was found if it is our container; others do not exist for us."""
        if (found["Config"]["Labels"] or {}).get(INSTANCE) != self._core.instance:
            raise container_not_found(Subject(container_id=container_id))
        self._own.add(found["Id"])
        return found
