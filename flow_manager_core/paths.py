"""Which of the host's paths clients may name: only what really lies below the allowed roots."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import evolve, frozen

from flow_manager_core.models import ContainerSpec, Fault, Mount
from flow_manager_core.settings import AUTO, Settings

#: Never handed out, whatever the roots are.
FORBIDDEN = tuple(Path(p) for p in ("/proc", "/sys", "/dev", "/etc"))
#: The log file's name for ``auto``, and the setting's word for none; as `logs` has them.
LOG_NAME, NO_LOG = "flow-manager.log", "off"

OUTSIDE = "lies outside the folders that the setting volume_roots allows"
NOT_THERE = "does not exist"


@frozen
class Kept:
    """A file or folder that no container gets.

    Args:
        path: real, as far as it exists.
        told: what it is, for people.
        writes_only: whether it may be read.
    """

    path: Path
    told: str
    writes_only: bool = False

    def touches(self, real: Path) -> bool:
        """Whether a real path is this one, holds it or lies in it. Pure."""
        return real == self.path or real in self.path.parents or self.path in real.parents

    def is_same(self, path: Path) -> bool:
        """Whether it is this one by another name: a hard link, a mount of it elsewhere."""
        try:
            return path.samefile(self.path)
        except OSError:  # one of them is not there
            return False


@frozen
class HostRules:
    """What containers may see of the host, as the settings and the engine say.

    Args:
        roots: real; the whole file system is never one.
    """

    roots: tuple[Path, ...]
    kept: tuple[Kept, ...]

    @classmethod
    def of(cls, settings: Settings, engine: Iterable[Path] = ()) -> HostRules:
        """Gather the rules. Touches the file system: call it in a worker thread.

        Args:
            engine: what the container engine keeps for itself.
        """
        roots = (root.resolve() for root in settings.volume_roots)
        kept = [*_kept_by(settings), *(Kept(p, "which the container engine keeps") for p in engine)]
        return cls(
            tuple(root for root in roots if root != Path(root.anchor)),
            tuple(evolve(one, path=one.path.resolve()) for one in kept),
        )

    def real(self, path: Path, *, writes: bool) -> tuple[Path, str | None]:
        """Find where a path really leads, and why a container may not have it; ``None``: it may."""
        try:
            found = path.resolve(strict=True)
        except FileNotFoundError:
            return path, NOT_THERE
        except (OSError, RuntimeError) as error:
            return path, f"cannot be used: {getattr(error, 'strerror', None) or error}"
        twins = (one for one in self._kept(writes) if one.is_same(found))
        told = self.fault(found, writes=writes)
        return found, told or next((f"is {one.path}, {one.told}" for one in twins), None)

    def fault(self, real: Path, *, writes: bool) -> str | None:
        """Say why a container may not have a real path; ``None``: it may. Pure."""
        if not any(real == root or root in real.parents for root in self.roots):
            return OUTSIDE
        return self.kept_fault(real, writes=writes)

    def kept_fault(self, real: Path, *, writes: bool) -> str | None:
        """Say what a real path holds or lies in that no container gets. Pure."""
        for one in self._kept(writes):
            if one.touches(real):
                return f"holds or lies in {one.path}, {one.told}"
        return None

    def _kept(self, writes: bool) -> Iterator[Kept]:
        return (one for one in self.kept if writes or not one.writes_only)


def _kept_by(settings: Settings) -> Iterator[Kept]:
    for path in FORBIDDEN:
        yield Kept(path, "which the host keeps for itself")
    yield Kept(settings.socket_dir, "the folder of all flows' sockets")
    yield Kept(settings.state_dir, "the manager's own state")
    if settings.backup_dir:
        yield Kept(Path(settings.backup_dir), "the folder for backups, which hold secrets")
    if settings.token_file:
        yield Kept(Path(settings.token_file), "the manager's token")
    for path in settings.kept_paths:
        yield Kept(path, "which the setting kept_paths holds back")
    for entry in settings.tokens:
        yield Kept(Path(entry.split(":", 2)[-1]), "one of the manager's tokens")
    if settings.tls_key:
        yield Kept(Path(settings.tls_key), "the manager's TLS key")
    log = Path(LOG_NAME if settings.log_file == AUTO else settings.log_file).absolute()
    if settings.log_file != NO_LOG and os.path.lexists(log):
        yield Kept(log, "the manager's log, which it writes to", writes_only=True)


def checked_volumes(spec: ContainerSpec, rules: HostRules) -> tuple[ContainerSpec, list[Fault]]:
    """Give every volume its real source, and name those that may not be.

    Touches the file system: call it in a worker thread.
    """
    faults, volumes = [], []
    for mount in spec.volumes:
        real, told = rules.real(Path(mount.source), writes=not mount.read_only)
        volumes.append(evolve(mount, source=str(real)))
        if told is not None:
            faults.append(Fault(f"volumes.{mount.source}", told))
    return evolve(spec, volumes=tuple(volumes)), faults


def code_path_faults(path: Path, rules: HostRules) -> list[Fault]:
    """Check a folder of code: allowed, there, a folder, readable."""
    _, told = rules.real(path, writes=False)
    if told is None and not path.is_dir():
        told = "is not a folder"
    if told is None and not os.access(path, os.R_OK | os.X_OK):
        told = "cannot be read: check permissions on the code path"
    return [] if told is None else [Fault("code_path", told)]


def refused_sources(volumes: Iterable[Mount], rules: HostRules) -> list[str]:
    """Name the volumes whose sources now lead to where they may not; one that is gone is none.

    Touches the file system: call it in a worker thread.
    """
    looked = ((m.source, *rules.real(Path(m.source), writes=not m.read_only)) for m in volumes)
    return [
        f"{source} leads to {real}, which {told}"
        for source, real, told in looked
        if told not in (None, NOT_THERE)
    ]
