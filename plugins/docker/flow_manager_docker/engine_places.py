"""What an engine keeps on its host, and no container may have: whoever has it has the host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from flow_manager_docker.claim import engine_address

#: Sockets and data of Docker, of containerd and CRI-O below it, and of Podman, as they are
#: installed; also where the engine that is asked is another one.
USUAL = (
    *("/run/docker.sock", "/run/docker", "/run/containerd", "/run/podman", "/run/crio"),
    *("/run/buildkit", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers"),
    "/var/run/docker.sock",
)
#: Below a user's folder: Podman's and a rootless Docker's data, and what opens registries.
OF_USER = (".docker", ".local/share/docker", ".local/share/containers", ".config/containers")


def _home(environ: Mapping[str, str]) -> Path:
    """The user's folder; not every user has one."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(environ.get("HOME") or "/")


def engine_places(data: str, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Name them; a user's own only where they are. Touches the file system.

    Args:
        data: the folder of the engine's data, as it says.
        environ: of it, Docker's own variables count.
    """
    home = _home(environ)
    mine = (home / path for path in OF_USER)
    named = (data, engine_address(), environ.get("DOCKER_CERT_PATH"), environ.get("DOCKER_CONFIG"))
    return [
        *map(Path, USUAL),
        *(path for path in mine if path.exists()),
        *(Path(path) for path in named if path and path.startswith("/")),
    ]
