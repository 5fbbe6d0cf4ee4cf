"""What the manager counts of itself, for Prometheus; a registry of its own for each manager.

Labels have few values, whatever clients and flows do: no ids, no names of theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from flow_manager_core.errors import ERROR_TYPES, FlowManagerError
from flow_manager_core.events import (
    ContainerCrashed,
    ContainerRecovered,
    Event,
    HealthWarned,
    RecoveryGaveUp,
    RecoveryScheduled,
    ResourceAlerted,
)
from flow_manager_core.tally import BUCKETS, Tally

#: What all names of ours begin with.
PREFIX = "flow_manager_"
OPENMETRICS = "application/openmetrics-text"
OPENMETRICS_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
#: Outcomes that are no error's type: the client that asked was gone before a query's end.
OK, CANCELLED = "ok", "cancelled"
#: Stands for whatever is no operation, and for a failure of a plugin's own type.
UNKNOWN, OTHER = "unknown", "other"


class Metrics:
    """The counters and histograms. They cost about a microsecond each, a `Tally` less."""

    def __init__(self, version: str = "", backend: str = "") -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._gauge("info", "The manager, always 1", "version", "backend").labels(
            version, backend
        ).set(1)
        self._tally = Tally(PREFIX)
        self.registry.register(self._tally)
        self._calls = self._histogram("engine_call_duration_seconds", "Engine calls' time", "call")
        self._call_failures = self._counter("engine_call_failures", "Failed engine calls", "call")
        self._outages = self._counter("engine_outages", "Times that the engine went away")
        self._faults = self._counter("channel_errors", "Failures told of channels", "error_type")
        self._crashes = self._counter("crashes", "Runs that crashed", "cause")
        self._recoveries = self._counter("recoveries", "Steps of automatic recovery", "step")
        self._warnings = self._counter("health_warnings", "Failed health checks", "health")
        self._alerts = self._counter("resource_alerts", "Thresholds crossed", "resource_type")
        self._clients = self._gauge("clients", "Clients that are in", "frontend")
        self._takers: Mapping[type[Event], Callable[[Any], None]] = {
            ContainerCrashed: lambda e: self._count(self._crashes, _cause(e)),
            RecoveryScheduled: lambda _: self._count(self._recoveries, "scheduled"),
            ContainerRecovered: lambda _: self._count(self._recoveries, "recovered"),
            RecoveryGaveUp: lambda _: self._count(self._recoveries, "gave_up"),
            HealthWarned: lambda e: self._count(self._warnings, str(e.health)),
            ResourceAlerted: lambda e: self._count(self._alerts, e.resource_type),
        }

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All of it, and its media type; asks nobody and waits for nothing.

        Args:
            accept: an ``Accept`` header; OpenMetrics where that has it, else Prometheus' own text.
        """
        offered = {entry.partition(";")[0].strip().lower() for entry in accept.split(",")}
        if OPENMETRICS in offered:
            text = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return bytes(text), OPENMETRICS_TYPE
        return bytes(generate_latest(self.registry)), CONTENT_TYPE_PLAIN_0_0_4

    def event(self, event: Event) -> None:
        """Count something that happened."""
        take = self._takers.get(type(event))
        if take is not None:
            take(event)

    def message(self, direction: str) -> None:
        """Count a message that was ``sent`` or ``received``."""
        self._tally.messages[direction] += 1

    def channel_error(self, error: FlowManagerError) -> None:
        """Count a failure that no request asked about."""
        self._count(self._faults, _type_of(error))

    def operation(self, name: str) -> AbstractContextManager[None]:
        """Time a request that is carried out inside, and count it by its outcome.

        Args:
            name: `UNKNOWN` if there is no such operation.
        """
        return _Timed(self._tally, name)

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

    def _gauge(self, name: str, told: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}{name}", told, labels, registry=self.registry)

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}{name}", told, labels, registry=self.registry)

    def _histogram(self, name: str, told: str, *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}{name}", told, labels, buckets=BUCKETS, registry=self.registry)

    @staticmethod
    def _count(counter: Counter, label: str) -> None:
        counter.labels(label).inc()


class _Timed:
    """One request, while it is carried out."""

    def __init__(self, tally: Tally, name: str) -> None:
        self._tally = tally
        self._name = name
        self._began = time.perf_counter()

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        outcome = OK
        if error is not None:
            outcome = _type_of(error) if isinstance(error, FlowManagerError) else CANCELLED
        self._tally.request(self._name, outcome, time.perf_counter() - self._began)


def _cause(event: ContainerCrashed) -> str:
    if event.crash_details.get("oom_killed"):
        return "out_of_memory"
    return "signal" if event.crash_details.get("signal") else "exit_code"


def _type_of(error: FlowManagerError) -> str:
    """The failure's type, of those that the contract has: a plugin might make up any number."""
    return error.error_type if error.error_type in ERROR_TYPES else OTHER
