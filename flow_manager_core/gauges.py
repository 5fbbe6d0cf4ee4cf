"""The numbers that are read off the manager's parts whenever metrics are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flow_manager_core.bus import EventBus
from flow_manager_core.metrics import PREFIX, Metrics
from flow_manager_core.models import ContainerState
from flow_manager_core.services import Services

CONNECTED, DISCONNECTED = "connected", "disconnected"
WAITING, UNDELIVERABLE = "waiting", "undeliverable"


class Readings(Collector):
    """Reads all of them, in one walk over the containers."""

    def __init__(self, services: Services, bus: EventBus) -> None:
        self._services = services
        self._bus = bus

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        states = {str(state): 0 for state in ContainerState}
        states.update(Counter(str(record.state) for record in self._services.registry))
        yield _by_state("containers", "Containers by state", states)
        yield _by_state("channels", "Channels of running containers", self._channels())
        is_up = float(self._services.gate.is_open)
        yield GaugeMetricFamily(f"{PREFIX}engine_up", "Whether the engine answers", is_up)
        followings = self._services.log_follower.under_way()
        yield GaugeMetricFamily(f"{PREFIX}log_followings", "Followed outputs", followings)
        refuses = float(bool(self._services.journal.refuses))
        told = "Whether the journal refuses what it is given"
        yield GaugeMetricFamily(f"{PREFIX}journal_refuses", told, refuses)
        yield from self._of_the_post()
        yield from self._of_the_bus()

    def _channels(self) -> Mapping[str, float]:
        alive = [record.connected for record in self._services.registry if record.state.alive]
        return {CONNECTED: sum(alive), DISCONNECTED: len(alive) - sum(alive)}

    def _of_the_post(self) -> Iterator[Metric]:
        outbox = self._services.post.outbox
        states = {WAITING: outbox.totals.messages, UNDELIVERABLE: len(outbox.dead)}
        yield _by_state("durable_messages", "Durable messages to flows by state", states)
        told = "Bytes of the durable messages that wait"
        yield GaugeMetricFamily(f"{PREFIX}durable_waiting_bytes", told, outbox.totals.size)

    def _of_the_bus(self) -> Iterator[Metric]:
        name = f"{PREFIX}event_bus"
        bus = self._bus
        yield GaugeMetricFamily(
            f"{name}_depth", "Events that wait for the slowest subscriber", bus.depth()
        )
        yield GaugeMetricFamily(f"{name}_subscribers", "Subscribers", bus.subscribers())
        told = "Subscribers cut off, for they were too slow"
        yield CounterMetricFamily(f"{name}_drops", told, bus.drops())


def watch_gauges(metrics: Metrics, services: Services, bus: EventBus) -> None:
    """Have the parts' numbers read."""
    metrics.registry.register(Readings(services, bus))


def _by_state(name: str, told: str, numbers: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}{name}", told, labels=["state"])
    for state, number in numbers.items():
        family.add_metric([state], number)
    return family
