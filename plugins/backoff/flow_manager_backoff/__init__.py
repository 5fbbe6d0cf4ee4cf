"""Exponential backoff as a recovery policy for Flow Manager."""

from __future__ import annotations

from flow_manager_backoff.policy import Backoff, BackoffSettings

__all__ = ["Backoff", "BackoffSettings"]
