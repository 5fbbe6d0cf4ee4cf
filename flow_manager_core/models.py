"""The nouns of the flow manager: plain frozen values that every other module shares."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from attrs import field, frozen


class ContainerState(StrEnum):
    """What a container is doing.

    A backend reports every ended container as ``EXITED``. ``STOPPED`` is the manager's word for
    one that ended because it was asked to, or with exit code 0.
    """

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"

    @property
    def alive(self) -> bool:
        """Whether a program is there in this state, running or frozen."""
        return self in (ContainerState.RUNNING, ContainerState.PAUSED)

    @property
    def ended(self) -> bool:
        """Whether a program ran and is gone in this state."""
        return self in (ContainerState.STOPPED, ContainerState.EXITED, ContainerState.DEAD)


class Health(StrEnum):
    """What the container's health check last said."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    STARTING = "starting"
    NONE = "none"


class RestartMode(StrEnum):
    """When a container that ended is started again without being asked."""

    NEVER = "never"
    ON_CRASH = "on-crash"
    ALWAYS = "always"
    UNHEALTHY = "unhealthy"


class PullPolicy(StrEnum):
    """When an image is fetched from its registry before a create."""

    NEVER = "never"
    MISSING = "missing"
    ALWAYS = "always"


class CheckType(StrEnum):
    """How a health check asks."""

    HTTP = "http"
    TCP = "tcp"
    COMMAND = "command"
    SOCKET = "socket"
    DOCKER = "docker"


@frozen
class Mount:
    """A host folder or file that a container sees at ``target``."""

    source: str
    target: str
    read_only: bool = False


@frozen
class PortMapping:
    """A port of the container and the host port that leads to it (0: any free one)."""

    container_port: int
    host_port: int
    protocol: Literal["tcp", "udp"] = "tcp"

    @property
    def key(self) -> str:
        """The port as clients write it: ``8080``, or ``8080/udp``."""
        return str(self.container_port) if self.protocol == "tcp" else f"{self.container_port}/udp"


@frozen
class Resources:
    """Limits of one container.

    Args:
        memory: bytes.
        cpus: cores, may be a fraction.
        pids: processes and threads together.
    """

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None


@frozen
class RestartPolicy:
    """When to restart, and how patiently; ``None``: as the provider's settings say.

    Args:
        max_attempts: restarts in a row.
        first_delay: seconds before the first restart.
        factor: by which each further delay grows.
        max_delay: seconds that no delay exceeds.
        jitter: share of a delay, 0 to 1, that chance may take off.
        stable_after: seconds after which a run counts as stable and earlier ends are forgotten.
    """

    policy: RestartMode = RestartMode.NEVER
    max_attempts: int | None = None
    first_delay: float | None = None
    factor: float | None = None
    max_delay: float | None = None
    jitter: float | None = None
    stable_after: float | None = None


@frozen
class HealthCheck:
    """How the health of a container is asked for. Durations are seconds."""

    check_type: CheckType
    endpoint: str | None = None
    port: int | None = None
    command: tuple[str, ...] | None = None
    interval: float = 30.0
    timeout: float = 5.0
    retries: int = 3
    start_period: float = 0.0


@frozen(kw_only=True)
class ContainerSpec:
    """What a client asked a container to be.

    Args:
        environment: may hold secrets, and so is in no ``repr``.
        name: unique for the engine; the stem of the socket's file name.
        command: arguments for the image's entry point; ``None``: what the image says.
        code_path: a folder on the manager's host, put at the working directory.
        stop_timeout: seconds between the polite signal and the kill.
    """

    image: str
    name: str
    environment: Mapping[str, str] = field(factory=dict, repr=False)
    volumes: tuple[Mount, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    command: tuple[str, ...] | None = None
    working_dir: str | None = None
    labels: Mapping[str, str] = field(factory=dict)
    user: str | None = None
    network: str | None = None
    resources: Resources = Resources()
    restart: RestartPolicy = RestartPolicy()
    health_check: HealthCheck | None = None
    code_path: str | None = None
    pull: PullPolicy = PullPolicy.NEVER
    stop_timeout: float = 10.0


@frozen
class Attachment:
    """What a container needs to reach its channel: variables to set and folders to mount."""

    environment: Mapping[str, str] = field(repr=False)
    mounts: tuple[Mount, ...] = ()


@frozen(kw_only=True)
class CreatePlan:
    """Everything a backend needs to make a container, checked and complete.

    Args:
        spec: what the client asked for.
        labels: the client's labels and the manager's own; stored word for word.
        attachment: the channel's variables and mounts; they win over the client's.
    """

    spec: ContainerSpec
    labels: Mapping[str, str]
    attachment: Attachment


@frozen(kw_only=True)
class Container:
    """What the engine says of one container at one moment.

    Args:
        id: the engine's full id.
        state: never ``STOPPED``: see `ContainerState`.
        started_at: start of the latest run; it also names that run.
        exit_code: of the latest run, ``None`` while there is none.
        error: the engine's own word on why a start or run failed.
        ports: with the real host ports where the engine has chosen them.
        mounts: what it sees of the host, the channel's folder as well; of a backend that has
            `HostPaths`.
    """

    id: str
    name: str
    image: str
    state: ContainerState
    created: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    health: Health = Health.NONE
    ports: tuple[PortMapping, ...] = ()
    mounts: tuple[Mount, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)

    @property
    def short_id(self) -> str:
        """The 12 characters that clients are shown."""
        return self.id[:12]


@frozen
class ListedContainer:
    """One line of the engine's listing: enough to see whether a full look is due."""

    id: str
    name: str
    state: ContainerState


class EngineEventKind(StrEnum):
    """What an engine tells of a container by itself."""

    STARTED = "started"
    DIED = "died"
    SIGNALLED = "signalled"
    STOPPED = "stopped"
    OUT_OF_MEMORY = "out_of_memory"
    REMOVED = "removed"
    CHANGED = "changed"


@frozen(kw_only=True)
class EngineEvent:
    """One notice from the engine's event stream.

    Args:
        at: the engine's clock, seconds since the epoch.
        signal: the signal's number, for ``SIGNALLED``: somebody asked the engine to send it.
    """

    kind: EngineEventKind
    container_id: str
    at: float
    signal: int | None = None


@frozen
class EngineInfo:
    """The engine behind a backend.

    Args:
        details: more for operators.
        life: names the engine's present life; another one after it, or its host, was restarted.
            Empty when that cannot be told.
        since: when this life began to take requests, by the engine's clock; what ended runs
            before it was the engine itself. ``None`` when that cannot be told.
        keeps_flows: whether runs outlive the engine's own restart.
    """

    name: str
    version: str
    details: Mapping[str, Any] = field(factory=dict)
    life: str = ""
    since: datetime | None = None
    keeps_flows: bool = True


@frozen
class PullProgress:
    """How far the fetching of an image has come; bytes, where the registry tells them."""

    image: str
    status: str
    layer: str | None = None
    current: int | None = None
    total: int | None = None


@frozen
class LogLine:
    """One line of a container's output."""

    timestamp: datetime
    stream: Literal["stdout", "stderr"]
    line: str


@frozen
class CommandOutcome:
    """How a command in a container ended.

    Args:
        code: its exit code.
        output: the end of what it wrote, of both streams.
    """

    code: int
    output: str


@frozen(kw_only=True)
class ResourceUsage:
    """What a container uses: bytes, CPU in percent of one core; ``None``: cannot be told."""

    timestamp: datetime
    cpu_percent: float | None = None
    memory_usage: int | None = None
    memory_limit: int | None = None
    memory_percent: float | None = None
    network_rx_bytes: int | None = None
    network_tx_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_write_bytes: int | None = None
    pids: int | None = None


@frozen
class Message:
    """One message of a channel.

    Args:
        command: what it is about.
        data: any JSON value.
        id: names a question, so that it can be answered.
        reply_to: the id of the question that this answers.
        extra: fields of the frame that the contract does not name; kept, never dropped.
    """

    command: str
    data: Any = None
    id: str | None = None
    reply_to: str | None = None
    extra: Mapping[str, Any] = field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The frame's object: absent ids are left out."""
        body: dict[str, Any] = {"command": self.command, "data": self.data}
        if self.id is not None:
            body["id"] = self.id
        if self.reply_to is not None:
            body["reply_to"] = self.reply_to
        if self.extra:
            body.update(self.extra)
        return body


@frozen
class Fault:
    """One thing that is wrong with a request or a setting, and where."""

    field: str
    message: str


@frozen
class RecoveryHistory:
    """How a container's runs ended, as a recovery policy sees it; the last has just ended.

    Args:
        uptimes: seconds that each run lasted, oldest first; never empty.
        ends: when each ended, seconds on a monotonic clock.
    """

    uptimes: tuple[float, ...]
    ends: tuple[float, ...]


#: Seconds; a container that is to wait for longer is in truth left ended.
LONGEST_DELAY = 86400.0


@frozen
class Restart:
    """A recovery policy's verdict: start again after `delay` seconds.

    Args:
        attempt: counts from 1, and never beyond the ended runs.
        delay: from 0 to `LONGEST_DELAY`.
    """

    attempt: int
    delay: float


@frozen
class GiveUp:
    """A recovery policy's verdict: leave it ended. `attempts` were made."""

    attempts: int
    reason: str


class Role(StrEnum):
    """What a client may ask for; each role may what those before it may.

    ``READ``: what changes nothing, and events. ``OPERATE``: also to start, stop and restart
    containers and to send messages. ``ADMIN``: everything.
    """

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what the other one is needed for."""
        return self is needed or _RANKS.index(self) > _RANKS.index(needed)


_RANKS = tuple(Role)


@frozen
class Client:
    """Who asks.

    Args:
        frontend: the frontend's name.
        id: the frontend's own for the client.
        name: of the token that it presented, for people; empty where there are no tokens.
        role: what it may ask for.
    """

    frontend: str
    id: str
    name: str = ""
    role: Role = field(default=Role.ADMIN, converter=Role)


@frozen
class Answer:
    """What a request came to.

    Args:
        event: the name of the response event, ``error`` for a failure.
        body: a JSON object.
    """

    event: str
    body: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the request was carried out."""
        return self.event != "error"


class PartKind(StrEnum):
    """What a part of a backup holds."""

    FILESYSTEM = "filesystem"
    VOLUME = "volume"
    CODE = "code"


@frozen
class Part:
    """One part of what a container has, as a backup keeps it.

    Args:
        name: unique within the container: small letters, digits and dashes.
        target: where a volume is mounted in the container.
    """

    name: str
    kind: PartKind
    target: str = ""


@frozen(kw_only=True)
class Snapshot:
    """What a container is and has, in the words in which it can be made again.

    Args:
        spec: what its create asked for, as far as the engine keeps that; the rest is in its labels.
        parts: in the order in which they are written back.
        notes: what the backend must know besides, as JSON.
        left_out: what cannot be kept, each with the reason.
    """

    spec: ContainerSpec
    parts: tuple[Part, ...] = ()
    notes: Mapping[str, Any] = field(factory=dict)
    left_out: tuple[str, ...] = ()
