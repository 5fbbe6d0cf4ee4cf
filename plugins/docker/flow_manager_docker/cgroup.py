"""Reading what a container uses from the kernel's files: control groups of either version.

The files are described in the kernel's documentation, ``admin-guide/cgroup-v1`` (memory, cpuacct,
blkio-controller, pids) and ``admin-guide/cgroup-v2``.

Paths are texts here, and files are read by bare system calls: a round of monitoring reads ten of
them for each container, `pathlib` was the most of what that took, and Python's own file a quarter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import frozen

#: Bytes that are asked for at once; all of nearly every file.
PIECE = 16384
#: The name under which the one hierarchy of version 2 is kept here.
UNIFIED = ""


@frozen
class Reading:
    """What the files say at one moment: bytes, seconds; ``None``: no such file."""

    cpu_seconds: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    pids: int | None = None
    disk: tuple[int, int] | None = None
    network: tuple[int, int] | None = None


def parse_groups(text: str) -> dict[str, str]:
    """Read ``/proc/<pid>/cgroup``: the path of each controller, `UNIFIED` for version 2."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path)
    return groups


def parse_mounts(text: str) -> dict[str, tuple[str, str]]:
    """Read ``/proc/self/mountinfo``: the root and mount point of each controller's hierarchy."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        fields, _, tail = line.partition(" - ")
        kind, _, options = tail.split(" ", 2)
        root, point = fields.split(" ")[3:5]
        if kind == "cgroup2":
            mounts.setdefault(UNIFIED, (root, point))
        elif kind == "cgroup":
            mounts = dict.fromkeys(options.split(","), (root, point)) | mounts
    return mounts


def folders(groups: Mapping[str, str], mounts: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Where each controller's files of a process are, as seen from here."""
    found = {}
    for controller, path in groups.items():
        if controller in mounts:
            root, point = mounts[controller]
            inner = path.removeprefix(root.rstrip("/")).strip("/")
            found[controller] = f"{point}/{inner}" if inner else point
    return found


def read_groups(found: Mapping[str, str]) -> Reading:
    """Read the files of either version: the one whose memory controller the process is in."""
    return _read_v1(found) if "memory" in found else _read_v2(found.get(UNIFIED))


def _read_v1(found: Mapping[str, str]) -> Reading:
    memory, cpu = found["memory"], _number(_file(found, "cpuacct", "cpuacct.usage"))
    disk = text_of(_file(found, "blkio", "blkio.throttle.io_service_bytes_recursive"))
    return Reading(
        cpu_seconds=None if cpu is None else cpu / 1e9,
        memory=_working_set(
            f"{memory}/memory.usage_in_bytes", f"{memory}/memory.stat", "total_inactive_file"
        ),
        memory_limit=_number(f"{memory}/memory.limit_in_bytes"),
        pids=_number(_file(found, "pids", "pids.current")),
        disk=None if disk is None else parse_blkio(disk),
    )


def _read_v2(folder: str | None) -> Reading:
    if folder is None:
        return Reading()
    cpu = _value(text_of(f"{folder}/cpu.stat"), "usage_usec")
    disk = text_of(f"{folder}/io.stat")
    return Reading(
        cpu_seconds=None if cpu is None else cpu / 1e6,
        memory=_working_set(f"{folder}/memory.current", f"{folder}/memory.stat", "inactive_file"),
        memory_limit=_number(f"{folder}/memory.max"),
        pids=_number(f"{folder}/pids.current"),
        disk=None if disk is None else parse_io_stat(disk),
    )


def _working_set(usage: str, stat: str, reclaimable: str) -> int | None:
    """Memory in use without the file cache that can be dropped at once, as ``docker stats``."""
    used = _number(usage)
    return None if used is None else max(0, used - (_value(text_of(stat), reclaimable) or 0))


def parse_blkio(text: str) -> tuple[int, int]:
    """Sum the bytes read and written over all devices: ``8:0 Read 4096`` a line."""
    sums = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in sums:
            sums[words[1]] += int(words[2])
    return sums["Read"], sums["Write"]


def parse_io_stat(text: str) -> tuple[int, int]:
    """Sum the bytes read and written over all devices: ``8:0 rbytes=1 wbytes=2 ...`` a line."""
    sums = {"rbytes": 0, "wbytes": 0}
    for word in text.split():
        key, _, value = word.partition("=")
        if key in sums:
            sums[key] += int(value)
    return sums["rbytes"], sums["wbytes"]


def parse_network(text: str) -> tuple[int, int]:
    """Sum the bytes received and sent over all devices but the loopback, in ``net/dev``."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, counters = line.partition(":")
        if name.strip() != "lo":
            numbers = counters.split()
            received, sent = received + int(numbers[0]), sent + int(numbers[8])
    return received, sent


def read_network(process: str) -> tuple[int, int] | None:
    """Read a process's traffic; ``None`` when it shares our network, whose traffic is not its.

    Args:
        process: its folder in ``/proc``.
    """
    try:
        theirs, ours = map(os.readlink, (f"{process}/ns/net", "/proc/self/ns/net"))
    except OSError:
        return None
    text = None if theirs == ours else text_of(f"{process}/net/dev")
    return None if text is None else parse_network(text)


def host_memory() -> int | None:
    """The host's memory in bytes."""
    total = _value(text_of("/proc/meminfo"), "MemTotal:")
    return None if total is None else total * 1024


def _file(found: Mapping[str, str], controller: str, name: str) -> str | None:
    folder = found.get(controller)
    return None if folder is None else f"{folder}/{name}"


def text_of(path: str | None) -> str | None:
    """A file's text; ``None`` when this kernel has no such file, or the process is gone."""
    if path is None:
        return None
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _whole(file).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(file)


def _whole(file: int) -> bytes:
    found = piece = os.read(file, PIECE)
    while piece:  # the kernel may give a file of this kind in pieces, whatever their size
        piece = os.read(file, PIECE)
        found += piece
    return found


def _number(path: str | None) -> int | None:
    text = (text_of(path) or "").strip()
    return int(text) if text.isdigit() else None


def _value(text: str | None, key: str) -> int | None:
    """The number behind a key, in lines that each have one; the rest of a line does not matter."""
    found = f"\n{text or ''}".partition(f"\n{key} ")[2].split(None, 1)
    return int(found[0]) if found and found[0].isdigit() else None
