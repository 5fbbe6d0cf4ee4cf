"""The operations on what watches over containers: health checks and monitoring."""

from __future__ import annotations

from flow_manager_core.models import Role
from flow_manager_core.operations import health, monitoring
from flow_manager_core.operations.operation import Operation
from flow_manager_core.requests import (
    DisableResourceMonitoring,
    EnableResourceMonitoring,
    GetDefaultHealthConfig,
    GetHealthCheckConfig,
    GetHealthStatusHistory,
    GetResourceThresholds,
    GetResourceUsageHistory,
    SetDefaultHealthConfig,
    SetHealthCheckConfig,
    SetResourceThresholds,
)

WATCH_ROWS = (
    Operation(
        request=GetResourceThresholds,
        role=Role.READ,
        event="resource_thresholds",
        subject=None,
        run=monitoring.get_resource_thresholds,
        needs_engine=False,
    ),
    Operation(
        request=SetResourceThresholds,
        role=Role.ADMIN,
        event="resource_thresholds_updated",
        subject=None,
        run=monitoring.set_resource_thresholds,
        needs_engine=False,
    ),
    Operation(
        request=EnableResourceMonitoring,
        role=Role.ADMIN,
        event="resource_monitoring_enabled",
        subject=None,
        run=monitoring.enable_resource_monitoring,
        needs_engine=False,
    ),
    Operation(
        request=DisableResourceMonitoring,
        role=Role.ADMIN,
        event="resource_monitoring_disabled",
        subject=None,
        run=monitoring.disable_resource_monitoring,
        needs_engine=False,
    ),
    Operation(
        request=GetResourceUsageHistory,
        role=Role.READ,
        event="resource_usage_history",
        run=monitoring.get_resource_usage_history,
        needs_engine=False,
    ),
    Operation(
        request=SetHealthCheckConfig,
        role=Role.ADMIN,
        event="health_check_config",
        run=health.set_health_check_config,
        needs_engine=False,
    ),
    Operation(
        request=GetHealthCheckConfig,
        role=Role.READ,
        event="health_check_config",
        run=health.get_health_check_config,
        needs_engine=False,
    ),
    Operation(
        request=SetDefaultHealthConfig,
        role=Role.ADMIN,
        event="default_health_config",
        subject=None,
        run=health.set_default_health_config,
        needs_engine=False,
    ),
    Operation(
        request=GetDefaultHealthConfig,
        role=Role.READ,
        event="default_health_config",
        subject=None,
        run=health.get_default_health_config,
        needs_engine=False,
    ),
    Operation(
        request=GetHealthStatusHistory,
        role=Role.READ,
        event="health_status_history",
        run=health.get_health_status_history,
        needs_engine=False,
    ),
)
