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
    ContainerRefs,
    CpuCount,
    Environment,
    Epoch,
    EventNames,
    EventNumber,
    FollowId,
    GrowthFactor,
    ImageName,
    JsonValue,
    LabelFilter,
    Labels,
    LogPart,
    MemoryBytes,
    MessageCommand,
    MessageId,
    NetworkName,
    Offset,
    PageLimit,
    PartKinds,
    PathMap,
    PortNumber,
    Ports,
    PositiveCount,
    PositiveSeconds,
    RequestId,
    Seconds,
    Share,
    ThresholdChanges,
    TimeToLive,
    UrlPath,
    UserName,
    Volumes,
)
from flow_manager_core.models import (
    CheckType,
    ContainerSpec,
    ContainerState,
    Delivery,
    Fault,
    HealthCheck,
    Message,
    PullPolicy,
    Resources,
    RestartMode,
    RestartPolicy,
)
from flow_manager_core.settings import LogLevel
from flow_manager_core.structuring import Faulty


@frozen(kw_only=True)
class Request:
    """What every request has. `operation` is the request's name on the wire."""

    operation: ClassVar[str]
    request_id: RequestId | None = None


@frozen(kw_only=True)
class ContainerRequest(Request):
    """A request about one container: its short or full id, a prefix of 4 or more, or its name."""

    container_id: ContainerRef


#: The fields of a health check that its type cannot do without.
NEEDED_FOR_CHECK = {
    CheckType.HTTP: ("port",),
    CheckType.TCP: ("port",),
    CheckType.COMMAND: ("command",),
}


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
    """The field ``health_check`` of a create, and a ``config``."""

    check_type: CheckType
    endpoint: UrlPath | None = None
    port: PortNumber | None = None
    command: Command | None = None
    interval: PositiveSeconds = PositiveSeconds(30.0)
    timeout: PositiveSeconds = PositiveSeconds(5.0)
    retries: PositiveCount = PositiveCount(3)
    start_period: Seconds = Seconds(0.0)

    def __attrs_post_init__(self) -> None:
        """Refuse a check that lacks what its type needs.

        Raises:
            Faulty: with every such field.
        """
        needed = NEEDED_FOR_CHECK.get(self.check_type, ())
        told = f"is needed for a check of the type {self.check_type}"
        missing = [Fault(name, told) for name in needed if getattr(self, name) is None]
        if missing:
            raise Faulty(*missing)

    def check(self) -> HealthCheck:
        """The check as the manager has it."""
        return HealthCheck(**attrs.asdict(self))


@frozen(kw_only=True)
class CreateContainer(Request):
    """Make a container, and start it if `start` says so."""

    operation: ClassVar[str] = "create_container"
    image: ImageName
    name: ContainerName | None = None
    environment: Environment = field(factory=lambda: Environment({}), repr=False)
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
            health_check=None if check is None else check.check(),
            code_path=self.code_path,
            pull=self.pull,
            stop_timeout=self.stop_timeout,
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
    """Send a message to a flow; with `reply`, wait `timeout` seconds for its answer.

    A durable one is kept until the flow has acknowledged it, `ttl` seconds have passed, or as many
    connections as `max_deliveries` says ended over it.
    """

    operation: ClassVar[str] = "send_message"
    message: MessageField
    reply: bool = False
    timeout: PositiveSeconds | None = None
    delivery: Delivery = Delivery.DIRECT
    ttl: TimeToLive | None = None
    max_deliveries: PositiveCount | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what the kind of delivery has no meaning for.

        Raises:
            Faulty: with every such field.
        """
        durable = self.delivery is Delivery.DURABLE
        strange = ("reply", "timeout") if durable else ("ttl", "max_deliveries")
        told = f"has no meaning where delivery is {self.delivery}"
        faults = [Fault(name, told) for name in strange if getattr(self, name)]
        if faults:
            raise Faulty(*faults)


@frozen(kw_only=True)
class GetMessage(Request):
    """Ask where a durable message stands."""

    operation: ClassVar[str] = "get_message"
    message_id: MessageId


@frozen(kw_only=True)
class ListUndeliverable(Request):
    """Read messages that never arrived, oldest first; of one container, there or not, or of all."""

    operation: ClassVar[str] = "list_undeliverable"
    container_id: ContainerRef | None = None
    limit: PageLimit = PageLimit(100)
    offset: Offset = Offset(0)


@frozen(kw_only=True)
class DeleteUndeliverable(Request):
    """Forget a message that never arrived."""

    operation: ClassVar[str] = "delete_undeliverable"
    message_id: MessageId


@frozen(kw_only=True)
class ResendUndeliverable(Request):
    """Send a message that never arrived once more, as a new one."""

    operation: ClassVar[str] = "resend_undeliverable"
    message_id: MessageId


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


@frozen
class LogCursor:
    """A place in a container's output: after the first `count` lines of a moment."""

    at: datetime
    count: int

    @classmethod
    def parse(cls, value: Any) -> LogCursor:
        """Read what `str` wrote.

        Raises:
            ValueError: it is something else.
        """
        at, _, count = value.partition("/") if isinstance(value, str) else ("", "", "")
        if not (count.isascii() and count.isdigit() and len(count) < 10):
            raise ValueError("no cursor")
        return cls(Since.parse(at).at, int(count))

    def __str__(self) -> str:
        return f"{self.at.isoformat(timespec='microseconds')}/{self.count}"


@frozen(kw_only=True)
class GetContainerLogs(ContainerRequest):
    """Read a container's output: the last `tail` lines, those since a moment or after a cursor.

    With `follow` what comes after that is told as it comes.
    """

    operation: ClassVar[str] = "get_container_logs"
    tail: PositiveCount | None = None
    since: Since | None = None
    cursor: LogCursor | None = None
    follow: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse two beginnings.

        Raises:
            Faulty: there are.
        """
        if self.since is not None and self.cursor is not None:
            raise Faulty(Fault("cursor", "says where to begin, and so does since: give one"))


@frozen(kw_only=True)
class UnfollowContainerLogs(Request):
    """End a following of this client's."""

    operation: ClassVar[str] = "unfollow_container_logs"
    follow_id: FollowId


@frozen(kw_only=True)
class PositionField:
    """The field ``since`` of a subscription: a place in the log of events."""

    epoch: Epoch
    seq: EventNumber


@frozen(kw_only=True)
class SubscribeEvents(Request):
    """Choose what this client hears: all that came after `since`, and what comes.

    What is left out of `containers`, `labels` and `events` restricts nothing.
    """

    operation: ClassVar[str] = "subscribe"
    since: PositionField | None = None
    containers: ContainerRefs | None = None
    labels: LabelFilter = field(factory=lambda: LabelFilter({}))
    events: EventNames | None = None


@frozen(kw_only=True)
class UnsubscribeEvents(Request):
    """Hear nothing more; with `containers` or `events`, nothing more of these."""

    operation: ClassVar[str] = "unsubscribe"
    containers: ContainerRefs | None = None
    events: EventNames | None = None


@frozen(kw_only=True)
class GetResourceThresholds(Request):
    """Ask which use of resources is told of."""

    operation: ClassVar[str] = "get_resource_thresholds"


@frozen(kw_only=True)
class SetResourceThresholds(Request):
    """Change the thresholds that are named; ``null`` takes one away."""

    operation: ClassVar[str] = "set_resource_thresholds"
    thresholds: ThresholdChanges


@frozen(kw_only=True)
class EnableResourceMonitoring(Request):
    """Have the containers' use of resources sampled."""

    operation: ClassVar[str] = "enable_resource_monitoring"


@frozen(kw_only=True)
class DisableResourceMonitoring(Request):
    """Sample no more; what was sampled is kept."""

    operation: ClassVar[str] = "disable_resource_monitoring"


@frozen(kw_only=True)
class GetResourceUsageHistory(ContainerRequest):
    """Read the latest samples of a container, oldest first."""

    operation: ClassVar[str] = "get_resource_usage_history"
    limit: PositiveCount = PositiveCount(100)


@frozen(kw_only=True)
class SetHealthCheckConfig(ContainerRequest):
    """Choose a container's health check, in place of the one that it was made with."""

    operation: ClassVar[str] = "set_health_check_config"
    config: HealthCheckField


@frozen(kw_only=True)
class GetHealthCheckConfig(ContainerRequest):
    """Ask for a container's health check."""

    operation: ClassVar[str] = "get_health_check_config"


@frozen(kw_only=True)
class SetDefaultHealthConfig(Request):
    """Choose the health check of containers that have none of their own; ``null`` for none."""

    operation: ClassVar[str] = "set_default_health_config"
    config: HealthCheckField | None


@frozen(kw_only=True)
class GetDefaultHealthConfig(Request):
    """Ask for the default health check."""

    operation: ClassVar[str] = "get_default_health_config"


@frozen(kw_only=True)
class GetHealthStatusHistory(ContainerRequest):
    """Read the latest results of a container's health checks, oldest first."""

    operation: ClassVar[str] = "get_health_status_history"
    limit: PositiveCount = PositiveCount(100)


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


@frozen(kw_only=True)
class GetLogLevel(Request):
    """Ask how much the manager's own log tells."""

    operation: ClassVar[str] = "get_log_level"


@frozen(kw_only=True)
class SetLogLevel(Request):
    """Have the manager's log tell more or less, all of it or one part; ``null`` takes it back."""

    operation: ClassVar[str] = "set_log_level"
    level: LogLevel | None
    part: LogPart | None = None
