"""A recovery policy and an error format of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

from flow_manager_core import ErrorFormatProvider, FlowManagerError, RecoveryProvider
from flow_manager_core.contracts import ErrorFormat, RecoveryPolicy
from flow_manager_core.models import GiveUp, RecoveryHistory, Restart, RestartMode, RestartPolicy


@frozen
class PatientSettings:
    delay: float = 10.0


class Patient:
    def __init__(self, settings: PatientSettings) -> None:
        self._settings = settings

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
        if restart.policy is RestartMode.NEVER or restart.max_attempts == 0:
            return GiveUp(0, "was told so")
        return Restart(len(history.uptimes), self._settings.delay)


def short(error: FlowManagerError, at: datetime) -> Mapping[str, Any]:
    return {"what": error.error_type, "told": error.message, "at": at.isoformat()}


POLICY: RecoveryPolicy = Patient(PatientSettings())
FORMAT: ErrorFormat = short
PROVIDERS = (
    RecoveryProvider(
        name="patient",
        settings_class=PatientSettings,
        factory=lambda context: Patient(context.settings),
    ),
    ErrorFormatProvider(name="short", factory=lambda _context: short),
)


class Slow:
    async def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart:
        return Restart(1, 1.0)


def timeless(error: FlowManagerError) -> Mapping[str, Any]:
    return {"what": error.error_type}


SLOW: RecoveryPolicy = Slow()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
TIMELESS: ErrorFormat = timeless  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
RecoveryProvider(name="slow", factory=lambda _: Slow())  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]
