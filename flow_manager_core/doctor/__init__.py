"""The doctor: every symptom of the guide as a check that can be run, by looking alone.

It takes no claim and makes nothing, so it may be called while a manager runs, while none does, and
where none could start. What it knows of engines, channels and doors it asks the chosen providers:
see `findings.Check` and `providers.Provider.checks`.
"""

from __future__ import annotations

from flow_manager_core.doctor.examination import examine, known_checks
from flow_manager_core.doctor.report import Report, Result, repaired

__all__ = ["Report", "Result", "examine", "known_checks", "repaired"]
