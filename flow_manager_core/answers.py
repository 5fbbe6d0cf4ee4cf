"""The contract's shapes of a container, for the answers that show one."""

from __future__ import annotations

from typing import Any

from flow_manager_core.events import now
from flow_manager_core.models import ResourceUsage
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.terms import client_labels
from flow_manager_core.wire import ports_body, timestamp, usage_body


def socket_path(record: ContainerRecord) -> str | None:
    """Where the channel is, as shown to clients."""
    return record.endpoint.address if record.endpoint else None


def created_body(record: ContainerRecord) -> dict[str, Any]:
    """The answer to a create."""
    container = record.made()
    return {
        "container_id": record.short_id,
        "name": record.name,
        "image": container.image,
        "status": str(record.state),
        "socket_path": socket_path(record),
        "ports": ports_body(container.ports),
    }


def list_entry(record: ContainerRecord) -> dict[str, Any]:
    """A container in a list."""
    container = record.made()
    return {
        "id": record.short_id,
        "name": record.name,
        "status": str(record.state),
        "image": container.image,
        "created": timestamp(container.created),
        "socket_path": socket_path(record),
        "ports": ports_body(container.ports),
        "labels": client_labels(container.labels),
    }


def status_body(record: ContainerRecord, usage: ResourceUsage | None) -> dict[str, Any]:
    """How a container is; `uptime` in seconds."""
    container = record.made()
    alive = record.state.alive
    started = container.started_at
    channel = record.channel
    last = channel.last_communication if channel else None
    return {
        "container_id": record.short_id,
        "name": record.name,
        "state": str(record.state),
        "health": str(record.health or container.health),
        "uptime": round((now() - started).total_seconds(), 3) if alive and started else 0.0,
        "exit_code": None if alive else container.exit_code,
        "restarts": record.desired.restarts,
        "socket_connected": record.connected,
        "last_communication": timestamp(last) if last else None,
        "resource_usage": usage_body(usage),
    }
