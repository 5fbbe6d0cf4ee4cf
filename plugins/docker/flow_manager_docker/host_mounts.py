"""What a process sees of the host, as the kernel has it: nobody inside can make it look different.

A bind mount is told by its file system and the place in it. The same place is looked for among
the mounts of this process, which gives its real paths on the host. Blocking.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from flow_manager_docker.create_arguments import lies_in, normal

#: What the kernel puts for a space, a tab, a line's end and a backslash in ``mountinfo``.
ESCAPE = re.compile(rb"\\([0-7]{3})")
#: What it adds to the place of a folder that was removed since.
DELETED = "//deleted"


@frozen
class MountLine:
    """One line of ``mountinfo``; see proc(5).

    Args:
        device: of the file system, as the kernel counts them.
        root: the place in the file system that is mounted.
        point: where it is mounted.
    """

    device: str
    root: str
    point: str


def parse_mounts(text: bytes) -> list[MountLine]:
    """Read a ``mountinfo``."""
    return [
        MountLine(*(_plain(field) for field in line.split(b" ")[2:5])) for line in text.splitlines()
    ]


def _plain(field: bytes) -> str:
    plain = ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)
    return plain.decode(errors="surrogateescape")


def host_names(mount: MountLine, own: Iterable[MountLine]) -> list[Path]:
    """Every real path that a process with the mounts `own` has for what is mounted."""
    place = mount.root.removesuffix(DELETED)
    return [
        Path(normal(f"{one.point}/{posixpath.relpath(place, one.root)}"))
        for one in own
        if one.device == mount.device and lies_in(place, one.root)
    ]


def seen_by(
    process: Path, container_id: str, targets: Sequence[str]
) -> list[tuple[str, Sequence[Path]]] | None:
    """Tell what a container's process has mounted at its targets and below them.

    Args:
        process: its folder in ``/proc``.

    Returns:
        Where each is mounted, and its real paths. ``None`` when this is no process of that
        container's: it has ended, or runs on another host.
    """
    try:
        if container_id not in (process / "cgroup").read_text():
            return None
        theirs = parse_mounts((process / "mountinfo").read_bytes())
        own = parse_mounts(Path("/proc/self/mountinfo").read_bytes())
    except OSError:
        return None
    return [
        (mount.point, host_names(mount, own))
        for mount in theirs
        if any(lies_in(mount.point, target) for target in targets)
    ]
