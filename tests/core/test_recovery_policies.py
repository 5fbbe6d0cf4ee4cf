"""The core's own recovery policy, and one in memory, do what every policy must."""

from __future__ import annotations

from flow_manager_core.builtin import flow_manager_recovery_policies
from flow_manager_core.models import GiveUp, RecoveryHistory, Restart, RestartPolicy
from flow_manager_core.providers import RecoveryProvider
from flow_manager_core.testing.recovery_suite import RecoverySuite


class Endless:
    """Restarts at once, for ever."""

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
        return Restart(len(history.uptimes), 0.0)


class TestNoRecovery(RecoverySuite):
    (provider,) = flow_manager_recovery_policies()
    restarts = 0
    honours_max_attempts = False


class TestEndless(RecoverySuite):
    provider = RecoveryProvider(name="endless", factory=lambda _context: Endless())
    restarts = None
    honours_max_attempts = False
