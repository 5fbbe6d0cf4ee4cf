"""What pure providers answer is checked before it is used: a plugin's mistake ends there.

A delay that is no number would stop an event loop's other timers, a body that is no JSON would
leave a client without an answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from flow_manager_core.contracts import RecoveryPolicy
from flow_manager_core.log import get_log
from flow_manager_core.models import LONGEST_DELAY, GiveUp, RecoveryHistory, Restart, RestartPolicy

JSON = "application/json"
#: Media types of JSON (RFC 6838, 4.2; the suffix: RFC 6839).
_JSON_TYPE = re.compile(r"application/([a-z0-9.-]+\+)?json")


class SoundPolicy:
    """A `RecoveryPolicy` whose verdicts can be carried out, whatever is behind it.

    A policy that raises, or answers what is no verdict, has given up: clients are told why, and
    only this container's recovery ends.
    """

    def __init__(self, policy: RecoveryPolicy) -> None:
        self._policy = policy
        self._log = get_log("recovery")

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
        """See `RecoveryPolicy`."""
        try:
            verdict = self._policy.decide(history, restart)
            if _can_be_carried_out(verdict):
                return verdict
            self._log.error("The recovery policy failed", verdict=repr(verdict)[:200])
            told = f"its answer, a {type(verdict).__name__}, cannot be carried out"
        except Exception as error:  # noqa: BLE001  # a plugin's fault is not the manager's
            self._log.exception("The recovery policy failed")
            told = f"it raised {type(error).__name__}"
        made = max(0, len(history.uptimes) - 1)
        return GiveUp(attempts=made, reason=f"the recovery policy failed: {told}")


def _can_be_carried_out(verdict: object) -> bool:
    if isinstance(verdict, GiveUp):
        return _is_count(verdict.attempts, least=0) and isinstance(verdict.reason, str)
    return (
        isinstance(verdict, Restart)
        and _is_count(verdict.attempt, least=1)
        and math.isfinite(verdict.delay)
        and 0 <= verdict.delay <= LONGEST_DELAY
    )


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and value >= least


def json_object(found: object) -> dict[str, Any]:
    """Take what an error format answered, as plain JSON values.

    Raises:
        TypeError, ValueError, RecursionError: it is no JSON object that every client can read.
    """
    if not isinstance(found, Mapping):
        raise TypeError(f"{type(found).__name__} is no JSON object")
    text = json.dumps(found, allow_nan=False, ensure_ascii=False, default=_as_object)
    body: dict[str, Any] = json.loads(text.encode())
    return body


def _as_object(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def media_type_of(error_format: object) -> str:
    """What HTTP calls the bodies of an error format; what is no type of JSON is not believed."""
    found = getattr(error_format, "media_type", JSON)
    return found if isinstance(found, str) and _JSON_TYPE.fullmatch(found) else JSON
