"""Health checks: what is asked of a container, of all that have no check, and what it answered."""

from __future__ import annotations

from typing import Any

import attrs

from flow_manager_core.health_checks.course import Result
from flow_manager_core.models import HealthCheck
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import (
    GetDefaultHealthConfig,
    GetHealthCheckConfig,
    GetHealthStatusHistory,
    SetDefaultHealthConfig,
    SetHealthCheckConfig,
)
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn
from flow_manager_core.wire import timestamp


async def set_health_check_config(
    services: Services, record: ContainerRecord, request: SetHealthCheckConfig, _turn: Turn
) -> dict[str, Any]:
    """Choose a container's check; it begins anew with that."""
    record.made()
    await services.health.configs.choose(record, request.config.check())
    services.health.reconsider(record)
    return _of_container(services, record)


async def get_health_check_config(
    services: Services, record: ContainerRecord, _request: GetHealthCheckConfig, _turn: Turn
) -> dict[str, Any]:
    """Tell what is asked of a container; ``null`` for nothing."""
    record.made()
    return _of_container(services, record)


def _of_container(services: Services, record: ContainerRecord) -> dict[str, Any]:
    config = _body(services.health.configs.effective(record))
    return {"container_id": record.short_id, "config": config}


async def set_default_health_config(
    services: Services, _record: None, request: SetDefaultHealthConfig, _turn: Turn
) -> dict[str, Any]:
    """Choose the check of containers that have none of their own."""
    check = None if request.config is None else request.config.check()
    await services.health.configs.choose_default(check)
    services.health.reconsider()
    return {"config": _body(services.health.configs.default)}


async def get_default_health_config(
    services: Services, _record: None, _request: GetDefaultHealthConfig, _turn: Turn
) -> dict[str, Any]:
    """Tell the default; ``null`` for none."""
    return {"config": _body(services.health.configs.default)}


async def get_health_status_history(
    services: Services, record: ContainerRecord, request: GetHealthStatusHistory, _turn: Turn
) -> dict[str, Any]:
    """Read the latest results."""
    container = record.made()
    history = services.health.history(record, request.limit)
    return {
        "container_id": record.short_id,
        "history": [_result(result) for result in history],
        "current_health": str(record.health or container.health),
        "consecutive_failures": services.health.failures(record),
    }


def _body(check: HealthCheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    body = attrs.asdict(check)
    return {**body, "command": None if check.command is None else list(check.command)}


def _result(result: Result) -> dict[str, Any]:
    return {**attrs.asdict(result), "timestamp": timestamp(result.timestamp)}
