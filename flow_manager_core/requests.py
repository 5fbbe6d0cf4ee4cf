"""One class a request, as the contract names its fields. Every one may carry a `request_id`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

import attrs
from attrs import field, frozen

from flow_manager_core.fields import (
    AbsolutePath,
    BackupPath,
    Command,
    ContainerName,
    ContainerRef,
    CpuCount,
    Environment,
    GrowthFactor,
    ImageName,
    JsonValue,
    LabelFilter,
    Labels,
    MemoryBytes,
    MessageCommand,
    NetworkName,
    PartKinds,
    PathMap,
    PortNumber,
    Ports,
    PositiveCount,
    PositiveSeconds,
    RequestId,
    Seconds,
    Share,
    UserName,
    Volumes,
)
from flow_manager_core.models import (
    CheckType,
    ContainerSpec,
    ContainerState,
    HealthCheck,
    Message,
    PullPolicy,
    Resources,
    RestartMode,
    RestartPolicy,
)


@frozen(kw_only=True)
class Request:
    """What every request has. `operation` is the request's name on the wire."""

    operation: ClassVar[str]
    request_id: RequestId | None = None


@frozen(kw_only=True)
class ContainerRequest(Request):
    """A request about one container: its short or full id, a prefix of 4 or more, or its name."""

    container_id: ContainerRef


@frozen(kw_only=True)
class ResourcesField:
    """The field ``resources`` of a create."""

    memory: MemoryBytes | None = None
    cpus: CpuCount | None = None
    pids: PositiveCount | None = None


@frozen(kw_only=True)
class RestartField:
    """The field ``restart`` of a create."""

    policy: RestartMode = RestartMode.NEVER
    max_attempts: PositiveCount | None = None
    first_delay: Seconds | None = None
    factor: GrowthFactor | None = None
    max_delay: Seconds | None = None
    jitter: Share | None = None
    stable_after: Seconds | None = None


@frozen(kw_only=True)
class HealthCheckField:
    """The field ``health_check`` of a create."""

    check_type: CheckType
    endpoint: str | None = None
    port: PortNumber | None = None
    command: Command | None = None
    interval: PositiveSeconds = PositiveSeconds(30.0)
    timeout: PositiveSeconds = PositiveSeconds(5.0)
    retries: PositiveCount = PositiveCount(3)
    start_period: Seconds = Seconds(0.0)


@frozen(kw_only=True)
class CreateContainer(Request):
    """Make a container, and start it if `start` says so."""

    operation: ClassVar[str] = "create_container"
    image: ImageName
    name: ContainerName | None = None
    environment: Environment = field(factory=lambda: Environment({}))
    volumes: Volumes = Volumes(())
    ports: Ports = Ports(())
    command: Command | None = None
    working_dir: AbsolutePath | None = None
    labels: Labels = field(factory=lambda: Labels({}))
    user: UserName | None = None
    network: NetworkName | None = None
    resources: ResourcesField = ResourcesField()
    restart: RestartField = RestartField()
    health_check: HealthCheckField | None = None
    code_path: AbsolutePath | None = None
    pull: PullPolicy = PullPolicy.NEVER
    start: bool = False
    stop_timeout: Seconds = Seconds(10.0)

    def spec(self, name: str) -> ContainerSpec:
        """What is asked for, under the name that the container will have."""
        check = self.health_check
        return ContainerSpec(
            image=self.image,
            name=name,
            environment=self.environment,
            volumes=self.volumes,
            ports=self.ports,
            command=self.command,
            working_dir=self.working_dir,
            labels=self.labels,
            user=self.user,
            network=self.network,
            resources=Resources(self.resources.memory, self.resources.cpus, self.resources.pids),
            restart=RestartPolicy(**attrs.asdict(self.restart)),
            health_check=None if check is None else _health_check(check),
            code_path=self.code_path,
            pull=self.pull,
            stop_timeout=self.stop_timeout,
        )


def _health_check(check: HealthCheckField) -> HealthCheck:
    return HealthCheck(
        check_type=check.check_type,
        endpoint=check.endpoint,
        port=check.port,
        command=check.command,
        interval=check.interval,
        timeout=check.timeout,
        retries=check.retries,
        start_period=check.start_period,
    )


@frozen(kw_only=True)
class StartContainer(ContainerRequest):
    """Start a container; one that runs is left as it is."""

    operation: ClassVar[str] = "start_container"


@frozen(kw_only=True)
class StopContainer(ContainerRequest):
    """Stop a container; `timeout` overrides its own ``stop_timeout``."""

    operation: ClassVar[str] = "stop_container"
    timeout: Seconds | None = None


@frozen(kw_only=True)
class RestartContainer(ContainerRequest):
    """Stop a container if it runs, and start it."""

    operation: ClassVar[str] = "restart_container"
    timeout: Seconds | None = None


@frozen(kw_only=True)
class UpdateContainer(ContainerRequest):
    """Replace a container's code folder."""

    operation: ClassVar[str] = "update_container"
    code_path: AbsolutePath


@frozen(kw_only=True)
class DeleteContainer(ContainerRequest):
    """Stop a container if it runs, and remove it with all that belongs to it."""

    operation: ClassVar[str] = "delete_container"


@frozen(kw_only=True)
class MessageField:
    """The field ``message`` of a send."""

    command: MessageCommand
    data: JsonValue | None = None
    id: RequestId | None = None
    reply_to: RequestId | None = None

    def message(self) -> Message:
        """The message as the channel takes it."""
        return Message(self.command, self.data, self.id, self.reply_to)


@frozen(kw_only=True)
class SendMessage(ContainerRequest):
    """Send a message to a flow; with `reply`, wait `timeout` seconds for its answer."""

    operation: ClassVar[str] = "send_message"
    message: MessageField
    reply: bool = False
    timeout: PositiveSeconds | None = None


@frozen(kw_only=True)
class GetContainerStatus(ContainerRequest):
    """Ask the engine how a container is."""

    operation: ClassVar[str] = "get_container_status"


@frozen(kw_only=True)
class ListContainers(Request):
    """List containers that carry all of `labels` and are in `state`."""

    operation: ClassVar[str] = "list_containers"
    labels: LabelFilter = field(factory=lambda: LabelFilter({}))
    state: ContainerState | None = None


@frozen
class Since:
    """A moment: seconds since the epoch, or RFC 3339."""

    at: datetime

    @classmethod
    def parse(cls, value: Any) -> Since:
        """Read either form.

        Raises:
            ValueError: it is neither.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError("neither a number nor a text")
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return cls(at if at.tzinfo else at.replace(tzinfo=UTC))
        return cls(datetime.fromtimestamp(value, UTC))


@frozen(kw_only=True)
class GetContainerLogs(ContainerRequest):
    """Read a container's output: the last `tail` lines, those since a moment."""

    operation: ClassVar[str] = "get_container_logs"
    tail: PositiveCount | None = None
    since: Since | None = None


@frozen(kw_only=True)
class BackupContainer(ContainerRequest):
    """Write what a container is and has into a new archive in the folder for backups.

    `exclude` leaves kinds of parts out; `pause` halts the program while its files are read.
    """

    operation: ClassVar[str] = "backup_container"
    path: BackupPath
    exclude: PartKinds = PartKinds(())
    pause: bool = True
    overwrite: bool = False


@frozen(kw_only=True)
class RestoreContainer(Request):
    """Make a container of an archive: a new one, under the old name unless `name` is given.

    `volumes` maps host folders of the archive to others of this host; `overwrite` lets the content
    of a volume be written over what is there.
    """

    operation: ClassVar[str] = "restore_container"
    path: BackupPath
    name: ContainerName | None = None
    start: bool = False
    overwrite: bool = False
    volumes: PathMap = field(factory=lambda: PathMap({}))


@frozen(kw_only=True)
class VerifyBackup(Request):
    """Read an archive from end to end, and say what is in it."""

    operation: ClassVar[str] = "verify_backup"
    path: BackupPath
