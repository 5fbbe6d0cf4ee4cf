"""Whether there is an engine to work with."""

from __future__ import annotations

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.providers import ProviderContext
from flow_manager_docker.calls import MARGIN, Lane, within
from flow_manager_docker.errors_map import Subject

#: Seconds that an engine gets to answer: a present one takes milliseconds.
DEADLINE = 2.0


async def probe(_context: ProviderContext) -> str | None:
    """Say in one line why Docker cannot be used, ``None`` when it can. Raises nothing."""
    lane = Lane(threads=1, timeout=DEADLINE + MARGIN)
    try:
        with within(DEADLINE, Subject()):
            await lane.call(lambda client: client.api.ping(), Subject(), seconds=DEADLINE)
    except FlowManagerError as error:
        return error.message
    finally:
        lane.close()
    return None
