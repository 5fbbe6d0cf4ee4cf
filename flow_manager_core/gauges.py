"""The numbers that are read off the manager's parts whenever metrics are asked for."""

from __future__ import annotations

from functools import partial

from flow_manager_core.bus import EventBus
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import ContainerState
from flow_manager_core.registry import Registry
from flow_manager_core.services import Services


def watch_gauges(metrics: Metrics, services: Services, bus: EventBus) -> None:
    """Have the parts' numbers read."""
    registry = services.registry
    states = {str(state): partial(_in_state, registry, state) for state in ContainerState}
    metrics.watch_states("containers", "Containers by state", states)
    channels = {"connected": partial(_channels, registry, True)}
    channels["disconnected"] = partial(_channels, registry, False)
    metrics.watch_states("channels", "Channels of running containers", channels)
    metrics.watch("engine_up", "Whether the engine answers", lambda: services.gate.is_open)
    metrics.watch("event_bus_depth", "Events that wait for the slowest subscriber", bus.depth)
    metrics.watch("event_bus_drops", "Subscribers cut off, for they were too slow", bus.drops)
    metrics.watch("event_bus_subscribers", "Subscribers", bus.subscribers)


def _in_state(registry: Registry, state: ContainerState) -> int:
    return sum(record.state is state for record in registry)


def _channels(registry: Registry, connected: bool) -> int:
    return sum(record.state.alive and record.connected is connected for record in registry)
