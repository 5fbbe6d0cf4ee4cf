"""Resource monitoring: whether, from when on it is too much, and what was sampled."""

from __future__ import annotations

from typing import Any

from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import (
    DisableResourceMonitoring,
    EnableResourceMonitoring,
    GetResourceThresholds,
    GetResourceUsageHistory,
    SetResourceThresholds,
)
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn
from flow_manager_core.wire import usage_body


async def get_resource_thresholds(
    services: Services, _record: None, _request: GetResourceThresholds, _turn: Turn
) -> dict[str, Any]:
    """Tell the thresholds."""
    return {"thresholds": dict(services.monitor.thresholds)}


async def set_resource_thresholds(
    services: Services, _record: None, request: SetResourceThresholds, _turn: Turn
) -> dict[str, Any]:
    """Change the thresholds that are named, and tell all."""
    await services.monitor.choose_thresholds(request.thresholds)
    return {"thresholds": dict(services.monitor.thresholds)}


async def enable_resource_monitoring(
    services: Services, _record: None, _request: EnableResourceMonitoring, _turn: Turn
) -> dict[str, Any]:
    """Begin to sample, now."""
    await services.monitor.enable(True)
    return {"enabled": True}


async def disable_resource_monitoring(
    services: Services, _record: None, _request: DisableResourceMonitoring, _turn: Turn
) -> dict[str, Any]:
    """Cease to sample."""
    await services.monitor.enable(False)
    return {"enabled": False}


async def get_resource_usage_history(
    services: Services, record: ContainerRecord, request: GetResourceUsageHistory, _turn: Turn
) -> dict[str, Any]:
    """Read what is kept of one container."""
    record.made()
    history = services.monitor.history(record, request.limit)
    return {
        "container_id": record.short_id,
        "history": [usage_body(usage) for usage in history],
        "limit": request.limit,
    }
