"""From the engine's description of a container to what a backup keeps of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from flow_manager_core.models import (
    Attachment,
    ContainerSpec,
    Mount,
    Part,
    PartKind,
    PortMapping,
    Resources,
)
from flow_manager_docker.labels import ORIGIN

#: What engines call the network of a container that asks for none.
OWN_NETWORKS = ("", "default", "bridge")


def read_spec(
    found: Mapping[str, Any], image: Mapping[str, Any], attachment: Attachment, pids_limit: int
) -> ContainerSpec:
    """Take away from a container what its image, the channel and the settings have put there.

    Args:
        found: the answer of ``GET /containers/{id}/json``.
        image: the configuration of its image.
        attachment: the channel's.
        pids_limit: what a container gets that asks for no limit.
    """
    config, host = found["Config"], found["HostConfig"]
    return ContainerSpec(
        image=origin(config, image),
        name=found["Name"].removeprefix("/"),
        environment=_environment(config, image, attachment),
        volumes=tuple(_bind(mount) for mount in own_mounts(found, attachment) if is_bind(mount)),
        ports=tuple(_ports(host["PortBindings"] or {})),
        command=_command(config, image),
        working_dir=_working_dir(config, image),
        labels=_labels(config, image),
        user=_other(config, image, "User"),
        network=None if host["NetworkMode"] in OWN_NETWORKS else host["NetworkMode"],
        resources=_resources(host, pids_limit),
    )


def origin(config: Mapping[str, Any], image: Mapping[str, Any]) -> str:
    """The image that the container was first made of, before any restore."""
    return str((image.get("Labels") or {}).get(ORIGIN) or config["Image"])


def own_mounts(found: Mapping[str, Any], attachment: Attachment) -> list[Mapping[str, Any]]:
    """The mounts that are not the channel's, by where they are."""
    channel = {mount.target for mount in attachment.mounts}
    mounts = [mount for mount in found["Mounts"] if mount["Destination"] not in channel]
    return sorted(mounts, key=lambda mount: str(mount["Destination"]))


def is_bind(mount: Mapping[str, Any]) -> bool:
    """Whether it is a path of the host's; else the engine keeps it, as an image declares it."""
    return str(mount["Type"]) == "bind"


def volume_parts(mounts: list[Mapping[str, Any]]) -> list[Part]:
    """A part for each of them."""
    return [
        Part(f"volume-{number}", PartKind.VOLUME, mount["Destination"])
        for number, mount in enumerate(mounts, start=1)
    ]


def _environment(
    config: Mapping[str, Any], image: Mapping[str, Any], attachment: Attachment
) -> dict[str, str]:
    given = [line for line in config["Env"] or () if line not in (image.get("Env") or ())]
    pairs = (line.partition("=") for line in given)
    return {key: value for key, _, value in pairs if key not in attachment.environment}


def _command(config: Mapping[str, Any], image: Mapping[str, Any]) -> tuple[str, ...] | None:
    given = config["Cmd"]
    return None if not given or given == image.get("Cmd") else tuple(given)


def _other(config: Mapping[str, Any], image: Mapping[str, Any], key: str) -> str | None:
    given = config[key]
    return None if not given or given == image.get(key) else str(given)


def _working_dir(config: Mapping[str, Any], image: Mapping[str, Any]) -> str | None:
    """Podman writes the root where neither the client nor the image said anything."""
    given = _other(config, image, "WorkingDir")
    return None if given == "/" and not image.get("WorkingDir") else given


def _labels(config: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, str]:
    of_image = (image.get("Labels") or {}).items()
    return {k: v for k, v in (config["Labels"] or {}).items() if (k, v) not in of_image}


def _bind(mount: Mapping[str, Any]) -> Mount:
    return Mount(mount["Source"], mount["Destination"], read_only=not mount["RW"])


def _ports(bindings: Mapping[str, Any]) -> Iterator[PortMapping]:
    for key, asked in bindings.items():
        if asked:
            number, _, protocol = key.partition("/")
            kind: Literal["tcp", "udp"] = "udp" if protocol == "udp" else "tcp"
            yield PortMapping(int(number), int(asked[0]["HostPort"] or 0), kind)


def _resources(host: Mapping[str, Any], pids_limit: int) -> Resources:
    pids, nano = host.get("PidsLimit") or 0, host.get("NanoCpus") or 0
    return Resources(
        memory=host.get("Memory") or None,
        cpus=nano / 1e9 if nano else None,
        pids=pids if pids > 0 and pids != pids_limit else None,
    )
