"""What the manager counts of itself, for Prometheus; a registry of its own for each manager.

Labels have few values, whatever clients and flows do: no ids, no names of theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import (
    ContainerCrashed,
    ContainerRecovered,
    ErrorReported,
    Event,
    HealthWarned,
    MessageReceived,
    RecoveryGaveUp,
    RecoveryScheduled,
    ResourceAlerted,
)

#: Seconds; from a message's way to a stop that waits for its program.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
CONTENT_TYPE: str = CONTENT_TYPE_LATEST
#: Outcomes that are no error's type: the client that asked was gone before a query's end.
OK, CANCELLED = "ok", "cancelled"
#: Stands for whatever is no operation.
UNKNOWN = "unknown"

Read = Callable[[], float]


class Metrics:
    """The counters and histograms. They cost about a microsecond each."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._operations = self._counter("operations", "Requests", "operation", "outcome")
        self._durations = self._histogram("operation_seconds", "Requests' time", "operation")
        self._calls = self._histogram("engine_call_seconds", "Engine calls' time", "call")
        self._call_failures = self._counter("engine_call_failures", "Failed engine calls", "call")
        self._outages = self._counter("engine_outages", "Times that the engine went away")
        self._messages = self._counter("messages", "Messages of channels", "direction")
        self._faults = self._counter("channel_errors", "Failures told of channels", "error_type")
        self._crashes = self._counter("crashes", "Runs that crashed", "cause")
        self._recoveries = self._counter("recoveries", "Steps of automatic recovery", "step")
        self._warnings = self._counter("health_warnings", "Failed health checks", "health")
        self._alerts = self._counter("resource_alerts", "Thresholds crossed", "resource_type")
        self._clients = Gauge(
            "flow_manager_clients", "Clients that are in", ("frontend",), registry=self.registry
        )
        self._takers: Mapping[type[Event], Callable[[Any], None]] = {
            MessageReceived: lambda _: self.message("received"),
            ErrorReported: lambda e: self._count(self._faults, e.error.get("error_type", "")),
            ContainerCrashed: lambda e: self._count(self._crashes, _cause(e)),
            RecoveryScheduled: lambda _: self._count(self._recoveries, "scheduled"),
            ContainerRecovered: lambda _: self._count(self._recoveries, "recovered"),
            RecoveryGaveUp: lambda _: self._count(self._recoveries, "gave_up"),
            HealthWarned: lambda e: self._count(self._warnings, str(e.health)),
            ResourceAlerted: lambda e: self._count(self._alerts, e.resource_type),
        }

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return bytes(generate_latest(self.registry))

    def event(self, event: Event) -> None:
        """Count something that happened."""
        take = self._takers.get(type(event))
        if take is not None:
            take(event)

    def message(self, direction: str) -> None:
        """Count a message that was ``sent`` or ``received``."""
        self._messages.labels(direction).inc()

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Time a request that is carried out inside, and count it by its outcome.

        Args:
            name: `UNKNOWN` if there is no such operation.
        """
        began, outcome = time.perf_counter(), CANCELLED
        try:
            yield
            outcome = OK
        except FlowManagerError as error:
            outcome = error.error_type
            raise
        finally:
            self._operations.labels(name, outcome).inc()
            self._durations.labels(name).observe(time.perf_counter() - began)

    @contextmanager
    def engine_call(self, call: str) -> Iterator[None]:
        """Time a call of the engine that is done inside."""
        began = time.perf_counter()
        try:
            yield
        except Exception:
            self._call_failures.labels(call).inc()
            raise
        finally:
            self._calls.labels(call).observe(time.perf_counter() - began)

    def engine_went_away(self) -> None:
        """Count an outage."""
        self._outages.inc()

    def client_came(self, frontend: str) -> None:
        """Count a client in."""
        self._clients.labels(frontend).inc()

    def client_left(self, frontend: str) -> None:
        """Count a client out."""
        self._clients.labels(frontend).dec()

    def watch(self, name: str, told: str, read: Read) -> None:
        """Have a number read whenever it is asked for."""
        Gauge(f"flow_manager_{name}", told, registry=self.registry).set_function(read)

    def watch_states(self, name: str, told: str, read: Mapping[str, Read]) -> None:
        """Have a number read for each of some states."""
        gauge = Gauge(f"flow_manager_{name}", told, ("state",), registry=self.registry)
        for state, function in read.items():
            gauge.labels(state).set_function(function)

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(f"flow_manager_{name}", told, labels, registry=self.registry)

    def _histogram(self, name: str, told: str, *labels: str) -> Histogram:
        full = f"flow_manager_{name}"
        return Histogram(full, told, labels, buckets=BUCKETS, registry=self.registry)

    @staticmethod
    def _count(counter: Counter, label: str) -> None:
        counter.labels(label).inc()


def _cause(event: ContainerCrashed) -> str:
    if event.crash_details.get("oom_killed"):
        return "out_of_memory"
    return "signal" if event.crash_details.get("signal") else "exit_code"
