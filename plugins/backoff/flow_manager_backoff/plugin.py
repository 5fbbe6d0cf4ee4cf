"""Registers the policy."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_backoff.policy import Backoff, BackoffSettings
from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import RecoveryProvider

PROVIDER = RecoveryProvider(
    name="backoff",
    summary="exponential backoff with jitter, a cap and a limit",
    settings_class=BackoffSettings,
    factory=lambda context: Backoff(context.settings),
)


@hookimpl
def flow_manager_recovery_policies() -> Sequence[RecoveryProvider]:
    """Offer ``backoff``."""
    return [PROVIDER]
