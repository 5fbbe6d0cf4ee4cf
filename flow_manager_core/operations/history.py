"""What was done before, by whom, and what came of it."""

from __future__ import annotations

import re
from typing import Any

from flow_manager_core.booked import refused
from flow_manager_core.errors import ContainerNotFound, InvalidRequest
from flow_manager_core.history import Wanted
from flow_manager_core.history_requests import GetActivityLog, GetOperation
from flow_manager_core.models import Fault, Role
from flow_manager_core.registry import SHORT
from flow_manager_core.services import Services
from flow_manager_core.trace import current_asker
from flow_manager_core.turns import Turn

#: An engine's id, or its beginning; of a container that is no more a shorter one may be several's.
_ID = re.compile(rf"[0-9a-f]{{{SHORT},}}")


async def get_operation(
    services: Services, _record: None, request: GetOperation, turn: Turn
) -> dict[str, Any]:
    """Tell what came of one's own request; of everybody's, to those who may do everything.

    Raises:
        InvalidRequest: there is none of this id, or it is another's.
    """
    mine = current_asker() or ""
    by = mine if request.by is None else request.by
    if by != mine and not turn.caller.client.role.covers(Role.ADMIN):
        raise InvalidRequest(
            [Fault("by", "is another's name: that needs the role admin")],
            required_role=str(Role.ADMIN),
        )
    await services.aftermath.look()
    found = await services.book.find(request.request_id, by)
    if found is None:
        raise refused("has no operation that is known: none was begun, or it is long ago")
    return found.body()


async def get_activity_log(
    services: Services, _record: None, request: GetActivityLog, _turn: Turn
) -> dict[str, Any]:
    """Read the feed back, also that of containers that are no more.

    Raises:
        ContainerNotFound: there is none of this name, and was none of late.
    """
    wanted = Wanted(
        container=await _container(services, request.container_id),
        kinds=request.kinds,
        since=request.since.at if request.since else None,
        until=request.until.at if request.until else None,
        newest_first=request.newest_first,
    )
    page = await services.history.page(wanted, request.limit, request.offset, request.cursor)
    return {
        "entries": [{"seq": event.seq, **event.body} for event in page.events],
        "next": None if page.next is None else str(page.next),
    }


async def _container(services: Services, ref: str | None) -> str:
    """The full id, or the beginning of one."""
    if ref is None:
        return ""
    try:
        return services.registry.find(ref).made().id
    except ContainerNotFound:
        found = await services.history.last_named(ref)
        if found is None and not _ID.fullmatch(ref):
            raise
        return found or ref
