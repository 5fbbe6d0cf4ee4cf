"""Exponential backoff with jitter, a cap, a limit, and a reset after a stable run."""

from __future__ import annotations

import random

import attrs
from attrs import field, frozen, validators

from flow_manager_core.models import (
    LONGEST_DELAY,
    GiveUp,
    RecoveryHistory,
    Restart,
    RestartPolicy,
)

_NO_LONGER = validators.le(LONGEST_DELAY)


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

    first_delay: float = field(default=0.5, validator=[validators.ge(0), _NO_LONGER])
    factor: float = field(default=2.0, validator=validators.ge(1))
    cap: float = field(default=60.0, validator=[validators.ge(0), _NO_LONGER])
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
        settings = _overridden(self._settings, restart)
        attempt = _ends_in_a_row(history, settings.stable_after)
        limit = settings.max_attempts
        if attempt > limit:
            return GiveUp(attempts=limit, reason=f"still failing after {limit} restarts in a row")
        shortening = 1 - settings.jitter * self._chance.random()
        return Restart(attempt=attempt, delay=_delay(settings, attempt) * shortening)


def _overridden(settings: BackoffSettings, restart: RestartPolicy) -> BackoffSettings:
    """The settings with the container's own wishes over them."""
    wishes = attrs.asdict(restart, filter=lambda _, value: value is not None)
    del wishes["policy"]
    if "max_delay" in wishes:
        wishes["cap"] = wishes.pop("max_delay")
    return attrs.evolve(settings, **wishes)


def _ends_in_a_row(history: RecoveryHistory, stable_after: float) -> int:
    """Count back to the latest stable run; that one's end is the first of the row."""
    count = 0
    for uptime in reversed(history.uptimes):
        count += 1
        if uptime >= stable_after:
            break
    return count


def _delay(settings: BackoffSettings, attempt: int) -> float:
    """The longest that the attempt may have to wait, in seconds."""
    delay = min(settings.cap, settings.first_delay)
    if delay == 0 or settings.factor == 1:
        return delay
    for _ in range(attempt - 1):
        if delay == settings.cap:
            break
        delay = min(settings.cap, delay * settings.factor)
    return delay
