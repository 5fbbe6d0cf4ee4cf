"""Registers the format."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import ErrorFormatProvider
from flow_manager_problem.details import ProblemFormat, ProblemSettings

PROVIDER = ErrorFormatProvider(
    name="problem",
    summary="problem details of RFC 9457, with all that the standard format has",
    settings_class=ProblemSettings,
    factory=lambda context: ProblemFormat(context.settings),
)


@hookimpl
def flow_manager_error_formats() -> Sequence[ErrorFormatProvider]:
    """Offer ``problem``."""
    return [PROVIDER]
