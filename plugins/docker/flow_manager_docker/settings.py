"""What an operator may set of the Docker backend."""

from __future__ import annotations

from attrs import field, frozen, validators

#: What most images' entry points need to drop to their own user and to serve; a fraction of
#: Docker's own default list.
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
)


@frozen(kw_only=True)
class DockerSettings:
    """Section ``[docker]``. Which engine: ``DOCKER_HOST`` and its family, as for Docker.

    Args:
        publish_host: the host's address at which ports are published; empty: all of them.
        allow_host_network: let containers join the host's network or another container's.
        networks: the networks that clients may name, besides ``none``; empty: all of the
            engine's, but for the host's.
        pids_limit: processes and threads of a container; clients may ask for less. 0 for none.
        oom_score_adj: how much sooner than others the kernel kills flows when the host's memory
            is used up, from -1000 to 1000.
        read_only: whether containers cannot write but to volumes; then there is no ``code_path``.
        cap_drop: capabilities taken from containers.
        cap_add: capabilities left to them.
        no_new_privileges: whether set-user-id programs are without effect.
        init: whether Docker's own tiny init passes signals on and reaps.
        log_max_size: of one log file of a container, as Docker writes sizes.
        log_max_file: log files kept of each container.
        code_limit: bytes of a code folder that are read back at most.
        archive_timeout: seconds that reading or writing a code folder may take.
        pull_stall_timeout: seconds that a pull may be without any news.
        quick_threads: inspects, listings, creates and logs at a time.
        start_threads: starts at a time; an engine hardly gains from more than six.
        slow_threads: stops, removals and code transfers at a time.
        pull_threads: pulls at a time.
        command_threads: commands in containers (health checks) at a time.
        stats_streams: containers of an engine on another host whose use is followed at a time; 0
            for none.

    Raises:
        ValueError: a number or size is out of its bounds.
    """

    publish_host: str = "127.0.0.1"
    allow_host_network: bool = False
    networks: tuple[str, ...] = ()
    pids_limit: int = field(default=512, validator=validators.ge(0))
    oom_score_adj: int = field(default=500, validator=[validators.ge(-1000), validators.le(1000)])
    read_only: bool = False
    cap_drop: tuple[str, ...] = ("ALL",)
    cap_add: tuple[str, ...] = CAPABILITIES
    no_new_privileges: bool = True
    init: bool = True
    log_max_size: str = field(default="10m", validator=validators.matches_re(r"[1-9]\d*[bkmg]?"))
    log_max_file: int = field(default=3, validator=validators.ge(1))
    code_limit: int = field(default=1024**3, validator=validators.gt(0))
    archive_timeout: float = field(default=120.0, validator=validators.gt(0))
    pull_stall_timeout: float = field(default=120.0, validator=validators.gt(0))
    quick_threads: int = field(default=8, validator=validators.ge(1))
    start_threads: int = field(default=6, validator=validators.ge(1))
    slow_threads: int = field(default=12, validator=validators.ge(1))
    pull_threads: int = field(default=3, validator=validators.ge(1))
    command_threads: int = field(default=4, validator=validators.ge(1))
    stats_streams: int = field(default=256, validator=validators.ge(0))
