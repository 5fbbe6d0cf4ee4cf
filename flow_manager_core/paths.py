"""Which of the host's paths clients may name: only what really lies below the allowed roots."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from flow_manager_core.models import ContainerSpec, Fault
from flow_manager_core.settings import Settings

#: Never handed out, whatever the roots are.
FORBIDDEN = tuple(
    Path(p) for p in ("/proc", "/sys", "/dev", "/etc", "/run/docker.sock", "/var/run/docker.sock")
)


def spec_path_faults(spec: ContainerSpec, settings: Settings) -> list[Fault]:
    """Check every host path of a spec. Touches the file system: call it in a worker thread."""
    faults = [
        Fault(f"volumes.{mount.source}", told)
        for mount in spec.volumes
        if (told := host_path_fault(Path(mount.source), settings))
    ]
    if spec.code_path is not None:
        faults += code_path_faults(Path(spec.code_path), settings)
    return faults


def code_path_faults(path: Path, settings: Settings) -> list[Fault]:
    """Check a folder of code: allowed, there, a folder, readable."""
    told = host_path_fault(path, settings)
    if told is None and not path.is_dir():
        told = "is not a folder"
    if told is None and not os.access(path, os.R_OK | os.X_OK):
        told = "cannot be read: check permissions on the code path"
    return [] if told is None else [Fault("code_path", told)]


def host_path_fault(path: Path, settings: Settings) -> str | None:
    """Say why a host path may not be used; ``None`` when it may."""
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        return "does not exist"
    except (OSError, RuntimeError) as error:
        return f"cannot be used: {getattr(error, 'strerror', None) or error}"
    if not _below(real, allowed_roots(settings)):
        return "lies outside the folders that the setting volume_roots allows"
    backups = [Path(settings.backup_dir)] if settings.backup_dir else []
    kept = [*FORBIDDEN, settings.socket_dir, settings.state_dir, *backups]
    if _below(real, kept) or any(_contains(real, one) for one in kept):
        return "holds or belongs to what the host or the manager keeps for itself"
    return None


def allowed_roots(settings: Settings) -> Sequence[Path]:
    """The roots as real paths; the whole file system is never one."""
    roots = (root.resolve() for root in settings.volume_roots)
    return [root for root in roots if root != Path(root.anchor)]


def _below(path: Path, roots: Iterable[Path]) -> bool:
    real = [root.resolve() for root in roots]
    return any(path == root or root in path.parents for root in real)


def _contains(path: Path, kept: Path) -> bool:
    return path in kept.resolve().parents
