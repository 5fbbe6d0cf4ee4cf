"""The manager's settings, with their defaults. `sources` reads them from the outside world."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import platformdirs
from attrs import field, frozen

AUTO = "auto"


class LogLevel(StrEnum):
    """How much the manager's own log tells."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class LogFormat(StrEnum):
    """How a line of the manager's own log looks."""

    CONSOLE = "console"
    JSON = "json"


class OnExit(StrEnum):
    """What becomes of running flows when the manager closes."""

    LEAVE = "leave"
    STOP = "stop"


class EventLoop(StrEnum):
    """What the service runs on: uvloop where it is installed, or one of the two for certain."""

    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


def _default_state_dir() -> Path:
    return Path(platformdirs.user_state_dir("flow-manager"))


def _env(*names: str) -> dict[str, tuple[str, ...]]:
    """Metadata: variables that set the field besides the prefixed one."""
    return {"env": names}


@frozen(kw_only=True)
class Settings:
    """What an operator may choose. Durations are seconds.

    Args:
        instance: separates managers that share one engine.
        backend: a provider's name, or ``auto``: the best that is available.
        recovery: a provider's name, or ``auto``: ``backoff`` where installed, else ``none``.
        frontends: providers' names; embedding needs none.
        blocked_plugins: plugins and distributions that are not loaded.
        host: where frontends listen.
        port: a TCP port, 0 for any free one.
        cors_origins: origins of browser pages that are let in.
        token: what clients must present; empty: `token_file`, else one kept in `state_dir`.
        tokens: more of them, each ``NAME:ROLE:FILE``: the role is ``read``, ``operate`` or
            ``admin``, the absolute path that of a file that holds the token.
        no_auth: let anyone in; on loopback alone.
        tls_certificate: a PEM file, the chain that frontends show; empty: no TLS.
        tls_key: a PEM file, the key that goes with it.
        socket_dir: where the channels' sockets stand.
        state_dir: what the manager keeps between its lives.
        journal: a provider's name: ``sqlite`` (in `state_dir`, which then belongs to one manager of
            this instance at a time) or ``memory``: a later life knows the containers' labels alone.
        journal_keep_age: seconds that the journal keeps events, and operations that have ended.
        journal_keep_bytes: of its events.
        volume_roots: folders below which ``volumes`` and ``code_path`` may point.
        kept_paths: files and folders that no ``volumes`` and no ``code_path`` may hold; the
            configuration file always belongs to them.
        code_limit: bytes of the files of one ``code_path``.
        log_file: a file that gets the log as well; ``off`` for none; ``auto``:
            ``flow-manager.log`` in the current folder, where that can be written.
        request_timeout: of one engine call that is neither a stop nor a pull.
        pull_timeout: of fetching one image.
        message_timeout: how long an answer of a flow is waited for by default.
        frame_limit: bytes of one message's JSON.
        durable_messages: durable messages that may wait for one flow.
        durable_bytes: of them together.
        durable_messages_total: durable messages that may wait for all flows.
        durable_bytes_total: of them together.
        settled_messages: messages that are remembered once they were delivered, and as many once
            they were undeliverable; the oldest are forgotten first.
        reconcile_interval: between two comparisons with the engine's own listing.
        retry_for: how long a request's engine call is tried again after a transient failure, with
            the recovery policy's delays; 0: never.
        heartbeat_interval: after so much silence a flow that can answer is asked for a sign of
            life; after three of them its connection is ended; 0: never.
        proof_of_life: how long an updated flow without a channel must stay up.
        reconnect_timeout: how long an updated flow may take to open its channel again.
        shutdown_timeout: how long requests in flight may take once the manager closes, and then
            flows that are to be stopped.
        monitoring: whether containers' use of resources is sampled, as long as no client chooses.
        monitoring_interval: between two samples.
        monitoring_history: samples of a container that are kept.
        backup_dir: the folder below which backups stand; empty: ``backups`` in `state_dir`.
        backup_limit: bytes of one backup.
        backup_stall_timeout: how long nothing may move in the transfer of a backup's data.
        on_exit: ``leave`` running flows alone when the manager closes, or ``stop`` them; the next
            start brings those back.
        event_loop: what the service runs on.
    """

    instance: str = "default"
    backend: str = AUTO
    transport: str = "unix_socket"
    recovery: str = AUTO
    error_format: str = "standard"
    frontends: tuple[str, ...] = ()
    blocked_plugins: tuple[str, ...] = ()
    host: str = field(default="127.0.0.1", metadata=_env("HOST"))
    port: int = field(default=8000, metadata=_env("PORT"))
    cors_origins: tuple[str, ...] = field(default=(), metadata=_env("CORS_ORIGINS"))
    token: str = field(default="", repr=False, metadata={"secret": True})
    token_file: str = ""
    tokens: tuple[str, ...] = ()
    no_auth: bool = False
    tls_certificate: str = ""
    tls_key: str = ""
    socket_dir: Path = field(default=Path("/tmp/kawaflow/sockets"), metadata=_env("SOCKET_DIR"))
    state_dir: Path = field(factory=_default_state_dir, metadata=_env("STATE_DIR"))
    journal: str = "sqlite"
    journal_keep_age: float = 30 * 86400.0
    journal_keep_bytes: int = 256 * 1024**2
    volume_roots: tuple[Path, ...] = field(factory=lambda: (Path.cwd(),))
    kept_paths: tuple[Path, ...] = ()
    code_limit: int = 1024**3
    log_level: LogLevel = field(default=LogLevel.INFO, metadata=_env("LOG_LEVEL"))
    log_format: LogFormat = field(default=LogFormat.CONSOLE, metadata=_env("LOG_FORMAT"))
    log_file: str = AUTO
    request_timeout: float = 30.0
    pull_timeout: float = 600.0
    message_timeout: float = 30.0
    frame_limit: int = 1024 * 1024
    durable_messages: int = 20_000
    durable_bytes: int = 64 * 1024**2
    durable_messages_total: int = 200_000
    durable_bytes_total: int = 1024**3
    settled_messages: int = 10_000
    reconcile_interval: float = 5.0
    retry_for: float = 5.0
    heartbeat_interval: float = 10.0
    proof_of_life: float = 3.0
    reconnect_timeout: float = 15.0
    shutdown_timeout: float = 5.0
    monitoring: bool = True
    monitoring_interval: float = 10.0
    monitoring_history: int = 360
    backup_dir: str = ""
    backup_limit: int = 64 * 1024**3
    backup_stall_timeout: float = 120.0
    on_exit: OnExit = OnExit.LEAVE
    event_loop: EventLoop = EventLoop.AUTO
