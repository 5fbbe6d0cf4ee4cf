"""The contract of `RecoveryPolicy`, as tests that any policy can run on itself.

A subclass names the provider, and says what the policy does with its default settings::

    class TestMyPolicy(RecoverySuite):
        provider = MY_PROVIDER          # the record that the plugin's hook returns
        restarts = 3                    # of a container that crashes at once, over and over
        extremes = (MySettings(delay=0), MySettings(delay=86400.0))

pytest collects it like any test class; it needs Hypothesis. `Policies` documents all hooks. A
policy that does not look at a container's own `max_attempts` sets `honours_max_attempts` to false.
"""

from __future__ import annotations

from flow_manager_core.testing.recovery_cases.limits import LimitCases
from flow_manager_core.testing.recovery_cases.purity import PurityCases
from flow_manager_core.testing.recovery_cases.verdicts import VerdictCases


class RecoverySuite(LimitCases, PurityCases, VerdictCases):
    """Every case of the contract; see the module's text for how to subclass."""
