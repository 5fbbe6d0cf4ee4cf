"""Where a container's ports are reached from the manager. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flow_manager_core.errors import EngineError


def address_of(found: Mapping[str, Any], port: int, engine: str) -> tuple[str, int]:
    """Choose the way to a TCP port of a running container.

    Args:
        found: what the engine says of the container.
        engine: the engine's host; empty when it is this one, which has the containers' networks.

    Raises:
        EngineError: there is no way.
    """
    if not engine:
        if found["HostConfig"]["NetworkMode"] == "host":
            return "127.0.0.1", port
        networks = (found["NetworkSettings"]["Networks"] or {}).values()
        address = next((n["IPAddress"] for n in networks if n.get("IPAddress")), None)
        if address is not None:
            return str(address), port
    published = (found["NetworkSettings"]["Ports"] or {}).get(f"{port}/tcp") or ()
    for binding in published:
        return engine or binding["HostIp"] or "127.0.0.1", int(binding["HostPort"])
    raise EngineError(
        f"Port {port} of the container cannot be reached from here",
        hint="Publish the port, or give the container a network of the engine's",
        container_id=found["Id"][:12],
    )
