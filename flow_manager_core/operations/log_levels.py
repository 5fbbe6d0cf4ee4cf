"""The manager's own log: how much it tells."""

from __future__ import annotations

from typing import Any

from flow_manager_core.requests import GetLogLevel, SetLogLevel
from flow_manager_core.services import Services
from flow_manager_core.trace import current_asker
from flow_manager_core.turns import Turn


async def get_log_level(
    services: Services, _record: None, _request: GetLogLevel, _turn: Turn
) -> dict[str, Any]:
    """Tell the level of all, and of the parts that have their own."""
    return services.log_levels.told()


async def set_log_level(
    services: Services, _record: None, request: SetLogLevel, _turn: Turn
) -> dict[str, Any]:
    """Change the level of all or of one part, for this life."""
    by = current_asker()
    services.log_levels.choose(request.level, request.part, {} if by is None else {"by": by})
    return services.log_levels.told()
