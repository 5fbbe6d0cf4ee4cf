"""From the engine's notices to the core's events. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flow_manager_core.models import EngineEvent, EngineEventKind
from flow_manager_docker.dialects import PODMAN_NO_STREAM, Dialect
from flow_manager_docker.labels import instance_filter

KINDS = {
    "start": EngineEventKind.STARTED,
    "die": EngineEventKind.DIED,
    "kill": EngineEventKind.SIGNALLED,
    "stop": EngineEventKind.STOPPED,
    "oom": EngineEventKind.OUT_OF_MEMORY,
    "destroy": EngineEventKind.REMOVED,
    "remove": EngineEventKind.REMOVED,  # Podman's word
    "pause": EngineEventKind.CHANGED,
    "unpause": EngineEventKind.CHANGED,
    "rename": EngineEventKind.CHANGED,
    "update": EngineEventKind.CHANGED,
    "health_status": EngineEventKind.CHANGED,
}


def read_event(found: Mapping[str, Any]) -> EngineEvent | None:
    """Read one line of ``GET /events``; ``None`` for what the core does not ask about."""
    # Health notices carry their verdict behind a colon.
    kind = KINDS.get(found.get("Action", "").partition(":")[0])
    actor = found.get("Actor", {})
    if kind is None or not actor.get("ID"):
        return None
    signal = actor.get("Attributes", {}).get("signal")
    return EngineEvent(
        kind=kind,
        container_id=actor["ID"],
        at=found["timeNano"] / 1e9,
        signal=int(signal) if kind is EngineEventKind.SIGNALLED and signal else None,
    )


def event_parameters(instance: str, since: str) -> dict[str, str]:
    """The query of ``GET /events`` that follows them.

    Args:
        instance: whose containers.
        since: the engine's own clock, as ``GET /info`` tells it: what happens while the
            subscription is being made comes out of the engine's memory of its last 256 events.
    """
    return {"filters": _filters(instance), "since": _stamp(since)}


def memory_parameters(instance: str, until: str, dialect: Dialect) -> dict[str, str]:
    """The query of ``GET /events`` for what the engine remembers.

    Args:
        instance: whose containers.
        until: the engine's own clock: Docker's answer ends at once only when this lies behind it.
        dialect: the engine's.
    """
    end = {"until": _stamp(until)} if dialect.daemon else PODMAN_NO_STREAM
    return {"filters": _filters(instance), "since": "0", **end}


def _filters(instance: str) -> str:
    return json.dumps({"type": ["container"], "label": instance_filter(instance)})


def _stamp(text: str) -> str:
    """RFC 3339 as seconds and all digits of their fraction: a float would round them."""
    seconds = int(datetime.fromisoformat(text).timestamp())
    fraction = text.partition(".")[2]
    digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    return f"{seconds}.{digits or '0'}"
