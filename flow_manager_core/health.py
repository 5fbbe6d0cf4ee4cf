"""How the manager is: what ``GET /health`` answers."""

from __future__ import annotations

from typing import Any

from flow_manager_core.errors import EngineUnavailable
from flow_manager_core.services import Services
from flow_manager_core.version import __version__


async def health_of(services: Services) -> dict[str, Any]:
    """Say how things stand."""
    engine = await _engine(services)
    journal = _journal(services)
    healthy = all(part["status"] == "healthy" for part in (engine, journal))
    records = list(services.registry)
    return {
        "status": "healthy" if healthy else "degraded",
        "service": "flow-manager",
        "version": __version__,
        "socket_dir": str(services.settings.socket_dir),
        "components": {
            "backend": {"name": services.backend_name, **engine},
            "journal": journal,
            "transport": {"name": services.settings.transport, "status": "healthy"},
            "containers": {
                "known": len(records),
                "running": sum(record.state.alive for record in records),
                "connected": sum(record.connected for record in records),
            },
        },
    }


async def _engine(services: Services) -> dict[str, Any]:
    """As the gate has it, which every request goes by as well."""
    try:
        await services.gate.require()
    except EngineUnavailable as error:
        return {"status": "unhealthy", "error": services.gate.reason or error.message}
    engine = services.supervisor.engine
    return {"status": "healthy", "engine": engine.name, "version": engine.version}


def _journal(services: Services) -> dict[str, Any]:
    """What it refuses is refused to whoever asks for it, and service goes on as far as it can."""
    named = {"name": services.journal_name}
    if reason := services.journal.refuses:
        return {**named, "status": "unhealthy", "error": reason}
    return {**named, "status": "healthy"}
