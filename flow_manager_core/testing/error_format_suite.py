"""The contract of `ErrorFormat`, as tests that any format can run on itself.

A subclass names the provider, and how its bodies are read where that differs from the standard
format's way::

    class TestMyFormat(ErrorFormatSuite):
        provider = MY_PROVIDER          # the record that the plugin's hook returns

        def error_type_of(self, body):
            return body["kind"]

pytest collects it like any test class; it needs Hypothesis. `Formats` documents all hooks.
"""

from __future__ import annotations

from flow_manager_core.testing.error_format_cases.bodies import BodyCases
from flow_manager_core.testing.error_format_cases.discretion import DiscretionCases
from flow_manager_core.testing.error_format_cases.hostility import HostilityCases


class ErrorFormatSuite(BodyCases, HostilityCases, DiscretionCases):
    """Every case of the contract; see the module's text for how to subclass."""
