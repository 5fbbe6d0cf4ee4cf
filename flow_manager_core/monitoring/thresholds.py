"""Which use of resources is too much, and when that is news. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from flow_manager_core.models import ResourceUsage

#: In percent: of one core, of the container's limit (else of the host's memory).
DEFAULTS: Mapping[str, float] = {"cpu_percent": 90.0, "memory_percent": 90.0}


@frozen
class Crossing:
    """A use that has just come to its threshold, or passed it."""

    resource_type: str
    current_value: float
    threshold: float


class Alarm:
    """One container's: tells of each crossing once, and again only after the use fell back."""

    def __init__(self) -> None:
        self._above: set[str] = set()

    def crossings(
        self, usage: ResourceUsage, thresholds: Mapping[str, float]
    ) -> Iterator[Crossing]:
        """Compare a sample; a use that was not measured changes nothing."""
        self._above &= thresholds.keys()
        for resource_type, threshold in thresholds.items():
            value = getattr(usage, resource_type)
            if value is None:
                continue
            if value < threshold:
                self._above.discard(resource_type)
            elif resource_type not in self._above:
                self._above.add(resource_type)
                yield Crossing(resource_type, value, threshold)
