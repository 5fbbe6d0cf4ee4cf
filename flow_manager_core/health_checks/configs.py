"""Which check applies to a container: its own, else the default, else what its image brings."""

from __future__ import annotations

from typing import Any

from flow_manager_core.ledger import Ledger
from flow_manager_core.models import CheckType, Health, HealthCheck
from flow_manager_core.preferences import Preferences
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.terms import health_check_from, health_check_to

DEFAULT = "default_health_check"
#: What is asked where the image brings a check of its own, which has its own patience. Asking is
#: but a look at the container, and the engine's events make it a quick one.
OF_THE_IMAGE = HealthCheck(CheckType.DOCKER, interval=5.0, retries=1)


class HealthConfigs:
    """Reads and changes the configs, on disk first."""

    def __init__(self, ledger: Ledger, preferences: Preferences) -> None:
        self._ledger = ledger
        self._preferences = preferences

    @property
    def default(self) -> HealthCheck | None:
        """The check of containers that have none of their own."""
        chosen: Any = self._preferences.get(DEFAULT, None)
        return None if chosen is None else health_check_from(chosen)

    async def choose_default(self, check: HealthCheck | None) -> None:
        """Change the default.

        Raises:
            SystemFault: it cannot be kept.
        """
        await self._preferences.choose(DEFAULT, None if check is None else health_check_to(check))

    def chosen(self, record: ContainerRecord) -> HealthCheck | None:
        """What was chosen for a container, at its creation or since; else the default."""
        since = record.desired.health_check
        own = record.terms.health_check if since is None else health_check_from(since)
        return own or self.default

    def effective(self, record: ContainerRecord) -> HealthCheck | None:
        """What is really asked."""
        chosen = self.chosen(record)
        if chosen is None and record.container and record.container.health is not Health.NONE:
            return OF_THE_IMAGE
        return chosen

    async def choose(self, record: ContainerRecord, check: HealthCheck) -> None:
        """Change a container's own check.

        Raises:
            SystemFault: it cannot be kept.
        """
        await self._ledger.note(record, health_check=health_check_to(check))
