"""What the doctor asks of the door: its port, and whether the service behind it is well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from typing import Any

from flow_manager_core.errors import SystemFault
from flow_manager_core.findings import (
    Check,
    Finding,
    NotExamined,
    Scene,
    blocking,
    error,
    fine,
    warning,
)
from flow_manager_core.port_check import examine_port
from flow_manager_core.providers import ProviderContext

#: Seconds; a service that is well takes milliseconds.
PATIENCE = 3.0
#: Bytes of an answer that are read; ours has some hundred.
LIMIT = 64 * 1024
RESTART = (
    "Restart the Flow Manager service: systemctl restart flow-manager, or docker restart;"
    " its log (flow-manager.log) says what it did last"
)


def port(context: ProviderContext, scene: Scene) -> Sequence[Finding]:
    """Whether clients can be listened for."""
    core = context.core
    return examine_port(core.host, core.port, settings=("host", "port"), service=scene.service)


def service(context: ProviderContext, scene: Scene) -> Sequence[Finding]:
    """Ask the service that runs how it is."""
    if scene.service is None:
        return [fine("no manager of this instance runs")]
    if context.core.port == 0:
        raise NotExamined("with port 0 it is not known where the service listens")
    who = f"The service (process {scene.service})"
    try:
        health = _health(_dialled(context.core.host), context.core.port)
    except (OSError, HTTPException, ValueError) as problem:
        where = f"{context.core.host}:{context.core.port}"
        told = f"{who} does not answer at {where}: {problem or type(problem).__name__}"
        return [error(told, RESTART, details={"pid": scene.service})]
    if "status" not in health:
        raise NotExamined(f"it does not say how it is: {health.get('message')}")
    if health["status"] == "healthy":
        return [fine(f"process {scene.service} is healthy", health=health)]
    told = f"{who} is {health['status']}: {_why(health)}"
    return [warning(told, SystemFault.default_hint, details={"health": health})]


def _dialled(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # none is bound


def _health(host: str, number: int) -> dict[str, Any]:
    line = HTTPConnection(host, number, timeout=PATIENCE)
    try:
        line.request("GET", "/health")
        found = json.loads(line.getresponse().read(LIMIT))
    finally:
        line.close()
    if not isinstance(found, dict):
        raise ValueError("what answers there is no Flow Manager")
    return found


def _why(health: dict[str, Any]) -> str:
    parts = health.get("components", {})
    ill = {name: part for name, part in parts.items() if part.get("status") == "unhealthy"}
    return "; ".join(f"{name}: {part.get('error', 'unhealthy')}" for name, part in ill.items())


CHECKS = (
    Check(name="http-port", asks="can clients be listened for on the port", look=blocking(port)),
    Check(
        name="service",
        asks="is the service well that runs",
        look=blocking(service),
        needs_engine=True,
    ),
)
