"""What one run's checks came to so far: the rules by which a container counts as healthy. Pure.

They are those of Docker's own health checks. A run is ``starting`` until its first success, or
until so many failures in a row as `retries` says; those in its start period do not count.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from attrs import define, field, frozen

from flow_manager_core.models import Health, HealthCheck

#: Results of a container that are kept, through all its runs.
HISTORY = 100


@frozen
class Verdict:
    """What one check found.

    Args:
        error: what was wrong; empty when all is well.
    """

    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.error


@frozen(kw_only=True)
class Result:
    """One check, as the history keeps it; `duration` in seconds."""

    timestamp: datetime
    duration: float
    health: Health
    failures: int
    error: str


@define
class Course:
    """One run of a container under one config."""

    check: HealthCheck
    health: Health = Health.STARTING
    failures: int = 0

    def note(self, verdict: Verdict, *, up_for: float) -> bool:
        """Take a verdict; tell whether it is a failure that counts.

        Args:
            up_for: seconds that the run lasts.
        """
        if verdict.ok:
            self.health, self.failures = Health.HEALTHY, 0
            return False
        if self.health is Health.STARTING and up_for < self.check.start_period:
            return False
        self.failures += 1
        if self.failures >= self.check.retries:
            self.health = Health.UNHEALTHY
        return True


@define
class Chart:
    """All that is kept of a container's health."""

    course: Course | None = None
    results: deque[Result] = field(factory=lambda: deque(maxlen=HISTORY))
