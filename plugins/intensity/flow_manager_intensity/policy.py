"""A restart-intensity window: so many restarts within so many seconds; more, and it gives up.

Supervisors of Erlang/OTP judge like that (`supervisor`, intensity and period).
"""

from __future__ import annotations

import attrs
from attrs import field, frozen, validators

from flow_manager_core.models import (
    LONGEST_DELAY,
    GiveUp,
    RecoveryHistory,
    Restart,
    RestartPolicy,
)

_SECONDS = validators.le(LONGEST_DELAY)
#: What a container's `RestartPolicy` calls the settings. It has no word for the others: the wait
#: is always the same, so nothing grows, and nothing is left to chance.
_COUNTERPARTS = {"max_attempts": "restarts", "stable_after": "window", "first_delay": "delay"}


@frozen(kw_only=True)
class IntensitySettings:
    """How much is too much.

    Args:
        restarts: within any `window`; 0: never restart.
        window: seconds after which an end is forgotten.
        delay: seconds before each restart; 0: at once.
    """

    restarts: int = field(default=5, validator=validators.ge(0))
    window: float = field(default=60.0, validator=[validators.ge(0), _SECONDS])
    delay: float = field(default=0.5, validator=[validators.ge(0), _SECONDS])


class Intensity:
    """A `RecoveryPolicy`."""

    def __init__(self, settings: IntensitySettings) -> None:
        self._settings = settings

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
        """See `RecoveryPolicy`; the attempt is the number of the restart within the window."""
        settings = _overridden(self._settings, restart)
        ends = _ends_within(settings.window, history.ends)
        if ends > settings.restarts:
            told = f"{ends} ends within {settings.window:g} s, {settings.restarts} are allowed"
            return GiveUp(attempts=ends - 1, reason=told)
        longest = LONGEST_DELAY if restart.max_delay is None else restart.max_delay
        return Restart(attempt=ends, delay=min(settings.delay, longest))


def _overridden(settings: IntensitySettings, restart: RestartPolicy) -> IntensitySettings:
    """The settings with the container's own wishes over them."""
    wishes = {ours: getattr(restart, theirs) for theirs, ours in _COUNTERPARTS.items()}
    return attrs.evolve(settings, **{k: v for k, v in wishes.items() if v is not None})


def _ends_within(window: float, ends: tuple[float, ...]) -> int:
    """Count the ends less than `window` seconds from the last one, which always counts itself.

    An end may seem to be later than the last: the clock was set back while no manager was there.
    """
    last = ends[-1]
    return 1 + sum(abs(last - end) < window for end in ends[:-1])
