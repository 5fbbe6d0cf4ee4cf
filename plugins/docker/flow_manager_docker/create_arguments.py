"""From a plan to the body of the engine's create request. Pure."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterable
from typing import Any

from flow_manager_core.models import ContainerSpec, CreatePlan, Fault, Mount, PortMapping
from flow_manager_docker.labels import CODE_DIR
from flow_manager_docker.settings import DockerSettings

#: Where code goes when neither the client nor the image names a working directory.
DEFAULT_CODE_DIR = "/app"

#: A name with perhaps a registry, a tag, a digest; or an id. The engine knows more of names than
#: this; a digest that is none it would take for a name.
IMAGE = re.compile(r"[A-Za-z0-9][\w.:/-]*(@[a-z0-9]+:[0-9a-f]{32,128})?", re.ASCII)

#: Docker's own pattern for names asks for two characters.
SHORTEST_NAME = 2


def unsupported(spec: ContainerSpec, settings: DockerSettings) -> list[Fault]:
    """Name what the engine, or the operator's settings for it, would refuse."""
    faults = []
    if len(spec.name) < SHORTEST_NAME:
        faults.append(Fault("name", f"must have at least {SHORTEST_NAME} characters for Docker"))
    if not IMAGE.fullmatch(spec.image):
        faults.append(Fault("image", "must look like name:tag or name@sha256:<64 digits>"))
    if joins_foreign_network(spec.network) and not settings.allow_host_network:
        told = "joining the host's or a container's network is not allowed (allow_host_network)"
        faults.append(Fault("network", told))
    return [*faults, *_beyond_settings(spec, settings), *_code_faults(spec, settings)]


def _beyond_settings(spec: ContainerSpec, settings: DockerSettings) -> list[Fault]:
    """Name what the operator allows no client."""
    faults = []
    allowed = ("none", *settings.networks)
    if settings.networks and spec.network is not None and spec.network not in allowed:
        told = f"must be one of {', '.join(allowed)}, as the setting networks says"
        faults.append(Fault("network", told))
    if settings.pids_limit and (spec.resources.pids or 0) > settings.pids_limit:
        told = f"must be at most {settings.pids_limit}, as the setting pids_limit says"
        faults.append(Fault("resources.pids", told))
    return faults


def _code_faults(spec: ContainerSpec, settings: DockerSettings) -> list[Fault]:
    faults = []
    if spec.code_path is not None and settings.read_only:
        told = "cannot be put into containers that are read-only, as the setting read_only says"
        faults.append(Fault("code_path", told))
    if spec.code_path is not None and spec.working_dir is not None:
        code_dir = normal(spec.working_dir)
        if code_dir == "/":
            faults.append(Fault("working_dir", "must not be / when code_path is given"))
        faults += mount_faults(spec, code_dir)
    return faults


def image_faults(spec: ContainerSpec, code_dir: str, volumes: Iterable[str]) -> list[Fault]:
    """Name what keeps code from a folder that the image chose.

    Args:
        volumes: the paths that the image declares to be volumes.
    """
    faults = mount_faults(spec, code_dir)
    told = f"the image keeps a volume in the code folder {code_dir}: give a working_dir elsewhere"
    faults += [Fault("working_dir", told) for path in volumes if lies_in(path, code_dir)]
    return faults


def joins_foreign_network(network: str | None) -> bool:
    """Whether a network mode gives up the container's own network."""
    return network is not None and (network == "host" or network.startswith("container:"))


def mount_faults(spec: ContainerSpec, code_dir: str) -> list[Fault]:
    """Name the volumes in the code folder: replacing the code would wipe the host's files."""
    return [
        Fault("volumes", f"{mount.target} lies in the code folder {code_dir}")
        for mount in spec.volumes
        if lies_in(mount.target, code_dir)
    ]


def lies_in(path: str, folder: str) -> bool:
    """Whether a container's path is the folder or below it."""
    norm = normal(path)
    return norm == folder or norm.startswith(f"{folder.rstrip('/')}/")


def code_dir(spec: ContainerSpec, image_working_dir: str) -> str:
    """Choose where the code goes: as the client says, else as the image says, never ``/``."""
    chosen = normal(spec.working_dir or image_working_dir)
    return DEFAULT_CODE_DIR if chosen == "/" else chosen


def normal(path: str) -> str:
    """An absolute path without detours; POSIX would keep two slashes at the beginning."""
    return posixpath.normpath("/" + path.lstrip("/"))


def create_arguments(
    plan: CreatePlan, settings: DockerSettings, code: str | None
) -> dict[str, Any]:
    """Build the body of ``POST /containers/create``.

    Args:
        code: the code folder, ``None`` for a container without code.
    """
    spec = plan.spec
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{k}={v}" for k, v in _environment(plan).items()],
        "Labels": dict(plan.labels) | ({CODE_DIR: code} if code else {}),
        "ExposedPorts": {_port(p): {} for p in spec.ports},
        "StopTimeout": math.ceil(spec.stop_timeout),
        "HostConfig": _host_config(plan, settings),
    }
    if spec.command is not None:
        body["Cmd"] = list(spec.command)
    if spec.user is not None:
        body["User"] = spec.user
    if code or spec.working_dir is not None:
        body["WorkingDir"] = code or spec.working_dir
    return body


def _environment(plan: CreatePlan) -> dict[str, str]:
    return {**plan.spec.environment, **plan.attachment.environment}


def _host_config(plan: CreatePlan, settings: DockerSettings) -> dict[str, Any]:
    spec = plan.spec
    config: dict[str, Any] = {
        "Mounts": [_mount(m) for m in (*spec.volumes, *plan.attachment.mounts)],
        "PortBindings": {_port(p): [_binding(p, settings)] for p in spec.ports},
        "RestartPolicy": {"Name": "no"},
        "Init": settings.init,
        "Privileged": False,
        # An engine may be configured to share what other containers can then join.
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "ReadonlyRootfs": settings.read_only,
        "OomScoreAdj": settings.oom_score_adj,
        "CapDrop": list(settings.cap_drop),
        "CapAdd": list(settings.cap_add),
        "SecurityOpt": ["no-new-privileges"] if settings.no_new_privileges else [],
        "LogConfig": _log_config(settings),
        **_limits(spec, settings),
    }
    if spec.network is not None:
        config["NetworkMode"] = spec.network
    return config


def _limits(spec: ContainerSpec, settings: DockerSettings) -> dict[str, Any]:
    limits: dict[str, Any] = {"PidsLimit": spec.resources.pids or settings.pids_limit}
    if spec.resources.memory is not None:
        # The same for memory and swap together: else the engine grants as much swap again.
        limits["Memory"] = limits["MemorySwap"] = spec.resources.memory
    if spec.resources.cpus is not None:
        limits["NanoCpus"] = round(spec.resources.cpus * 1e9)
    return limits


def _log_config(settings: DockerSettings) -> dict[str, Any]:
    sizes = {"max-size": settings.log_max_size, "max-file": str(settings.log_max_file)}
    return {"Type": "json-file", "Config": sizes}


def _mount(mount: Mount) -> dict[str, Any]:
    # As a mount, not as a "bind": that one makes a missing source, as a folder of root's.
    return {
        "Type": "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }


def _port(port: PortMapping) -> str:
    return f"{port.container_port}/{port.protocol}"


def _binding(port: PortMapping, settings: DockerSettings) -> dict[str, str]:
    return {"HostIp": settings.publish_host, "HostPort": str(port.host_port)}
