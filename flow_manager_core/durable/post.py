"""The durable messages of all containers, in one place."""

from __future__ import annotations

from functools import partial

import anyio
from anyio.abc import TaskGroup

from flow_manager_core.durable.courier import Courier, Desk
from flow_manager_core.durable.inbox import Inbox
from flow_manager_core.durable.letters import Reason
from flow_manager_core.durable.limits import Limits
from flow_manager_core.durable.outbox import Outbox
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.lines import LineMaker
from flow_manager_core.log import get_log
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.reporter import Reporter
from flow_manager_core.settings import Settings


class Post:
    """Carries messages that are not to be lost.

    Args:
        group: for what outlives the request that began it.
    """

    def __init__(
        self, writer: JournalWriter, reporter: Reporter, settings: Settings, group: TaskGroup
    ) -> None:
        limits = Limits.of(settings)
        self.outbox: Outbox = Outbox(writer, reporter, limits, group)
        self.inbox: Inbox = Inbox(writer.journal, reporter)
        self._desk = Desk(self.outbox, self.inbox, writer.journal, reporter, limits.frame)
        self._log = get_log("messages")

    async def load(self) -> None:
        """Find what earlier lives left.

        Raises:
            SystemFault: it cannot be read.
        """
        await self.outbox.load()
        await self.inbox.load()

    async def run(self) -> None:
        """Settle, store and let expire, for as long as the manager lives."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.outbox.settler.run)
            group.start_soon(self.outbox.expiry.run)
            group.start_soon(self.inbox.run)

    def lines(self, record: ContainerRecord) -> LineMaker:
        """What makes the lines of a container's channel, one a connection."""
        return partial(Courier, self._desk, record)

    async def end(self, container_id: str) -> None:
        """A container is gone: its messages end as undeliverable, told, and all else is forgotten.

        A journal that refuses is no reason to keep a container: it is asked again.
        """
        if not await self.outbox.end(container_id, Reason.CONTAINER_DELETED):
            self._log.warning("A deleted container's messages end later", container_id=container_id)
        try:
            await self.inbox.end(container_id)
        except FlowManagerError as error:
            self._log.error("A deleted container's senders are left", error=error.message)

    async def sweep(self, there: set[str]) -> None:
        """End what belongs to no container.

        Args:
            there: the full ids of those that are.
        """
        for container_id in (self.outbox.containers() | self.inbox.containers()) - there:
            await self.end(container_id)
