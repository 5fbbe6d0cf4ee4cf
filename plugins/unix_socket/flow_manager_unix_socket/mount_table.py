"""Which processes have which folders of ours mounted, by Linux's /proc, as far as we may see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from flow_manager_unix_socket.place import FRESH, SOCKET_NAME

#: ``SS_CONNECTED`` of Linux's include/uapi/linux/net.h, as /proc/net/unix writes it.
CONNECTED = "03"


def mount_roots() -> Mapping[str, int]:
    """What is mounted in any process's view, by its path in its own file system, and a process."""
    found: dict[str, int] = {}
    for table in Path("/proc").glob("[0-9]*/mountinfo"):
        pid = int(table.parent.name)
        found.update((root, pid) for root in _roots(table))
    return found


def _roots(table: Path) -> Iterator[str]:
    try:
        lines = table.read_text(errors="replace").splitlines()
    except OSError:  # it has ended, or is another user's
        return
    # The fourth field is the mount's root within its file system; see proc(5).
    yield from {line.split(" ")[3] for line in lines}


def process_with(folder: Path, roots: Mapping[str, int]) -> int | None:
    """A process that has the folder mounted; ``None``: none is seen."""
    # A file system's own paths begin below its mount point.
    tails = ("/" + "/".join(folder.parts[at:]) for at in range(1, len(folder.parts)))
    return next((roots[tail] for tail in tails if tail in roots), None)


def is_connected_there(pid: int) -> bool | None:
    """Whether a channel is open in the network namespace of a process; ``None``: not to be seen.

    The kernel counts an accepted connection to the namespace of who connected, under the name that
    the listening socket was bound to.
    """
    try:
        lines = Path(f"/proc/{pid}/net/unix").read_text(errors="replace").splitlines()[1:]
    except OSError:
        return None
    fields = (line.split() for line in lines)
    ours = f"/{SOCKET_NAME}{FRESH}"
    return any(f[5] == CONNECTED and f[-1].endswith(ours) for f in fields)
