"""What there is to find out about a port that somebody of the manager wants to listen on."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.findings import Finding, NotExamined, error, fine
from flow_manager_core.listeners import Listener, is_bindable, listener_on, may_bind

TAKEN = "Stop the process using the port, or use a different port"


def examine_port(
    host: str, port: int, *, settings: tuple[str, str], service: int | None
) -> Sequence[Finding]:
    """Say whether a port can be listened on, or is held by our own service. Blocking.

    Args:
        settings: what the host's and the port's settings are called.
        service: the process of our own service.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not is_bindable(host):
        told = f"No interface of this machine has the address {host}"
        return [error(told, f"Correct the setting {settings[0]}", details={"host": host})]
    if port == 0:
        return [fine(f"any free port of {host}")]
    holder = _holder(host, port)
    if holder is not None and holder.pid is not None and holder.pid == service:
        return [fine(f"{where} is held by our own service ({holder.told()})")]
    if holder is not None:
        details = {"port": port, "pid": holder.pid, "command": holder.command}
        told = f"The port is already in use: {where} is held by {holder.told()}"
        return [error(told, TAKEN, details=details)]
    if not may_bind(port):
        told = f"This user may not listen on so low a port as {port}"
        remedy = f"Set {settings[1]} to 1024 or more, or verify permissions (CAP_NET_BIND_SERVICE)"
        return [error(told, remedy, details={"port": port})]
    return [fine(f"{where} is free")]


def _holder(host: str, port: int) -> Listener | None:
    try:
        return listener_on(host, port)
    except OSError as problem:
        raise NotExamined(f"this system does not say who listens: {problem}") from None
