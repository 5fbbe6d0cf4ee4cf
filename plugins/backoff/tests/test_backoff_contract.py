"""Backoff keeps the contract of all recovery policies."""

from __future__ import annotations

from typing import ClassVar

from flow_manager_backoff import BackoffSettings
from flow_manager_backoff.plugin import PROVIDER
from flow_manager_core.testing.recovery_suite import RecoverySuite


class TestBackoff(RecoverySuite):
    provider = PROVIDER
    restarts = 10
    extremes: ClassVar[tuple[object, ...]] = (
        BackoffSettings(first_delay=0, factor=1, cap=0, jitter=0, max_attempts=0, stable_after=0),
        BackoffSettings(first_delay=86400, factor=1e15, cap=86400, jitter=1, max_attempts=2**53),
        BackoffSettings(first_delay=1e-9, factor=1 + 1e-9, cap=86400, stable_after=1e15),
    )
