"""The standard format does what every error format must."""

from __future__ import annotations

from flow_manager_core.builtin import flow_manager_error_formats
from flow_manager_core.testing.error_format_suite import ErrorFormatSuite


class TestStandardFormat(ErrorFormatSuite):
    (provider,) = flow_manager_error_formats()
