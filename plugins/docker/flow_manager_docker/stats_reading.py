"""Reading the lines of the engine's stats stream. Pure.

Their fields: "Get container stats based on resource usage", ``GET /containers/{id}/stats``, in the
Engine API's reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flow_manager_docker.cgroup import Reading

#: How a line begins that tells of a container which does not run: of the beginning of time.
OF_NOTHING = b'{"read":"0001-01-01T'
#: The file cache that can be dropped at once, in control groups of version 1 and 2.
RECLAIMABLE = ("total_inactive_file", "inactive_file")


def tells_nothing(line: bytes) -> bool:
    """Whether it is a line of a container that does not run."""
    return line.startswith(OF_NOTHING)


def parse_stats(line: bytes) -> tuple[float, Reading]:
    """Read a line.

    Returns:
        when it was measured, in seconds of the engine's clock; and what.

    Raises:
        ValueError: it is no such line.
    """
    found = json.loads(line)
    try:
        at = datetime.fromisoformat(found["read"]).timestamp()
        return at, _reading(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no line of stats: {error!r}") from None


def _reading(found: Mapping[str, Any]) -> Reading:
    used = (found["cpu_stats"].get("cpu_usage") or {}).get("total_usage")
    memory = found.get("memory_stats") or {}
    return Reading(
        cpu_seconds=None if used is None else used / 1e9,
        memory=_working_set(memory),
        memory_limit=memory.get("limit") or None,
        pids=(found.get("pids_stats") or {}).get("current"),
        disk=_disk((found.get("blkio_stats") or {}).get("io_service_bytes_recursive")),
        network=_network(found.get("networks")),
    )


def _working_set(memory: Mapping[str, Any]) -> int | None:
    """Memory in use without the cache that can be dropped at once, as ``docker stats``."""
    used, stat = memory.get("usage"), memory.get("stats") or {}
    cache = next((stat[name] for name in RECLAIMABLE if name in stat), 0)
    return None if used is None else max(0, used - cache)


def _disk(entries: list[Mapping[str, Any]] | None) -> tuple[int, int] | None:
    if entries is None:
        return None
    sums = {"read": 0, "write": 0}
    for entry in entries:
        way = entry["op"].lower()
        if way in sums:
            sums[way] += entry["value"]
    return sums["read"], sums["write"]


def _network(devices: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """Sum up all devices; ``None`` for a container that has the host's."""
    if devices is None:
        return None
    found = devices.values()
    return sum(d["rx_bytes"] for d in found), sum(d["tx_bytes"] for d in found)
