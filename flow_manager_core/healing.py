"""Restarts a container that runs, but whose health checks say that it is not well."""

from __future__ import annotations

from datetime import datetime

import anyio

from flow_manager_core.desired import Job, Wish
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import now
from flow_manager_core.log import get_log
from flow_manager_core.models import RestartMode
from flow_manager_core.operations.running import stop_run
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.services import Services


class Healer:
    """Ends a run that is unhealthy, and leaves the rest to recovery, as after a crash.

    So an unhealthy container is restarted with the policy's delays and within its limits, and never
    while another recovery is at it.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._log = get_log("recovery")

    async def heal(self, record: ContainerRecord, run: datetime | None) -> None:
        """End a run for its health, if that is wished; a failure is told, and may be tried again.

        Args:
            run: the one that was found unhealthy, by its start.
        """
        if not self._due(record, run):
            return
        async with record.lock:
            if self._due(record, run):
                await self._restart(record, run)

    def _due(self, record: ContainerRecord, run: datetime | None) -> bool:
        """Whether it is still that run, and it is to be restarted."""
        if record.gone or record.terms.restart.policy is not RestartMode.UNHEALTHY:
            return False
        container, desired = record.container, record.desired
        same = container is not None and record.state.alive and container.started_at == run
        wanted = desired.wish is Wish.UP and desired.job is Job.NONE
        return same and wanted and not self._services.recovery.recovering(record)

    async def _restart(self, record: ContainerRecord, run: datetime | None) -> None:
        self._log.warning("Container is unhealthy: it is restarted", container_id=record.short_id)
        uptime = (now() - run).total_seconds() if run else 0.0
        try:
            await stop_run(self._services, record, record.terms.stop_timeout, wish=Wish.UP)
        except FlowManagerError as error:
            self._log.error(
                "Operation: heal_container", container_id=record.short_id, error=error.message
            )
            return
        record.ran(uptime, anyio.current_time())
        self._services.recovery.resume(record)
