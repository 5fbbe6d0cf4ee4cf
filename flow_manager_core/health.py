"""How the manager is: what ``GET /health`` answers."""

from __future__ import annotations

from typing import Any

import anyio

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.services import Services
from flow_manager_core.version import __version__

#: Seconds that the engine may take to answer before it counts as away.
PATIENCE = 3.0


async def health_of(services: Services) -> dict[str, Any]:
    """Ask the engine, and say how things stand."""
    engine = await _engine(services)
    healthy = engine["status"] == "healthy"
    records = list(services.registry)
    return {
        "status": "healthy" if healthy else "degraded",
        "service": "flow-manager",
        "version": __version__,
        "socket_dir": str(services.settings.socket_dir),
        "components": {
            "backend": {"name": services.backend_name, **engine},
            "transport": {"name": services.settings.transport, "status": "healthy"},
            "containers": {
                "known": len(records),
                "running": sum(record.state.alive for record in records),
                "connected": sum(record.connected for record in records),
            },
        },
    }


async def _engine(services: Services) -> dict[str, Any]:
    gate = services.gate
    if gate.reason is not None:
        return {"status": "unhealthy", "error": gate.reason}
    with anyio.move_on_after(PATIENCE):
        try:
            info = await services.backend.ping()
            await gate.require()
        except FlowManagerError as error:
            gate.doubt()
            return {"status": "unhealthy", "error": error.message}
        return {"status": "healthy", "engine": info.name, "version": info.version}
    gate.doubt()
    return {"status": "unhealthy", "error": f"no answer within {PATIENCE:g} s"}
