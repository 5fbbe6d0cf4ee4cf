"""Flow Manager: the control plane for programs that live in containers and answer in real time."""

from __future__ import annotations

__version__ = "0.1.0"
