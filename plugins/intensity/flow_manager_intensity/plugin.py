"""Registers the policy."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import RecoveryProvider
from flow_manager_intensity.policy import Intensity, IntensitySettings

PROVIDER = RecoveryProvider(
    name="intensity",
    summary="so many restarts in so many seconds, then no more",
    settings_class=IntensitySettings,
    factory=lambda context: Intensity(context.settings),
)


@hookimpl
def flow_manager_recovery_policies() -> Sequence[RecoveryProvider]:
    """Offer ``intensity``."""
    return [PROVIDER]
