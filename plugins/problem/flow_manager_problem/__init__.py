"""Error format for Flow Manager: problem details of RFC 9457."""

from __future__ import annotations

from flow_manager_problem.details import ProblemFormat, ProblemSettings

__all__ = ["ProblemFormat", "ProblemSettings"]
