"""Exponential backoff with jitter, a cap, a limit, and a reset after a stable run."""

from __future__ import annotations

import random

from attrs import field, frozen, validators

from flow_manager_core.models import GiveUp, RecoveryHistory, Restart, RestartPolicy


@frozen(kw_only=True)
class BackoffSettings:
    """How patient the policy is.

    Args:
        first_delay: seconds before the first restart.
        factor: by which each further delay grows.
        cap: seconds that no delay exceeds.
        jitter: share of the delay that chance may take off, so that containers that crashed
            together do not all come back together.
        max_attempts: restarts in a row.
        stable_after: seconds after which a run counts as stable and earlier crashes are forgotten.
    """

    first_delay: float = field(default=0.5, validator=validators.ge(0))
    factor: float = field(default=2.0, validator=validators.ge(1))
    cap: float = field(default=60.0, validator=validators.ge(0))
    jitter: float = field(default=0.2, validator=[validators.ge(0), validators.le(1)])
    max_attempts: int = field(default=10, validator=validators.ge(0))
    stable_after: float = field(default=60.0, validator=validators.ge(0))


class Backoff:
    """A `RecoveryPolicy`.

    Args:
        chance: the source of jitter; left out: the system's.
    """

    def __init__(self, settings: BackoffSettings, chance: random.Random | None = None) -> None:
        self._settings = settings
        self._chance = chance or random.SystemRandom()

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
        """See `RecoveryPolicy`."""
        attempt = self._crashes_in_a_row(history)
        limit = restart.max_attempts
        limit = self._settings.max_attempts if limit is None else limit
        if attempt > limit:
            return GiveUp(attempts=limit, reason=f"still failing after {limit} restarts in a row")
        return Restart(attempt=attempt, delay=self._delay(attempt))

    def _crashes_in_a_row(self, history: RecoveryHistory) -> int:
        """Count back to the latest stable run; that one's end is the first of the row."""
        count = 0
        for uptime in reversed(history.uptimes):
            count += 1
            if uptime >= self._settings.stable_after:
                break
        return count

    def _delay(self, attempt: int) -> float:
        settings = self._settings
        if settings.first_delay == 0:
            return 0.0
        delay = settings.first_delay
        for _ in range(attempt - 1):
            delay = min(settings.cap, delay * settings.factor)
            if delay == settings.cap or settings.factor == 1:
                break
        return min(settings.cap, delay) * (1 - settings.jitter * self._chance.random())
