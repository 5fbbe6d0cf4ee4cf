"""Recovery policy for Flow Manager: so many restarts in so many seconds, then no more."""

from __future__ import annotations

from flow_manager_intensity.policy import Intensity, IntensitySettings

__all__ = ["Intensity", "IntensitySettings"]
