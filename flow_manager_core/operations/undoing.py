"""Takes away what a create or a restore that failed has made, step by step."""

from __future__ import annotations

import anyio

from flow_manager_core.desired import MAKING
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.log import get_log
from flow_manager_core.models import Container
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.services import Services

#: Seconds for each step.
UNDO = 3.0

_log = get_log("operations")


async def strike(services: Services, record: ContainerRecord) -> None:
    """Nothing was made, unless the create was given up."""
    if record.desired.key not in services.ledger.strays:
        with anyio.CancelScope(shield=True):
            await services.ledger.strike(record)


async def give_up(services: Services, record: ContainerRecord) -> None:
    """What was made, or may yet be, is to be removed."""
    if record.desired.job in MAKING:
        with anyio.CancelScope(shield=True):
            await services.ledger.give_up(record)


async def close_channel(services: Services, record: ContainerRecord) -> None:
    """Undo the opening of the channel."""
    with anyio.move_on_after(UNDO, shield=True):
        await services.channels.close(record, remove=True)


async def remove_made(services: Services, container: Container) -> None:
    """What cannot be removed now is adopted, by its label, when the engine is next compared."""
    with anyio.move_on_after(UNDO, shield=True):
        try:
            await services.backend.remove(container.id)
        except FlowManagerError as error:
            _log.warning(
                "A failed create left its container",
                container_id=container.short_id,
                error=error.message,
            )
