"""Intensity keeps the contract of all recovery policies."""

from __future__ import annotations

from typing import ClassVar

from flow_manager_core.testing.recovery_suite import RecoverySuite
from flow_manager_intensity import IntensitySettings
from flow_manager_intensity.plugin import PROVIDER


class TestIntensity(RecoverySuite):
    provider = PROVIDER
    restarts = 5
    extremes: ClassVar[tuple[object, ...]] = (
        IntensitySettings(restarts=0, window=0, delay=0),
        IntensitySettings(restarts=2**53, window=86400, delay=86400),
        IntensitySettings(restarts=1, window=1e-9, delay=1e-9),
    )
