"""What a client hears: chosen, and given up."""

from __future__ import annotations

from typing import Any

from flow_manager_core.events import event_kinds
from flow_manager_core.requests import SubscribeEvents, UnsubscribeEvents
from flow_manager_core.selection import NOTHING, Position, Selection
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn


async def subscribe(
    services: Services, _record: None, request: SubscribeEvents, turn: Turn
) -> dict[str, Any]:
    """Let the client hear what is selected: what it missed, then what comes."""
    selection = Selection(
        containers=request.containers,
        labels=frozenset(request.labels.items()),
        events=None if request.events is None else frozenset(request.events),
    )
    since = Position(request.since.epoch, request.since.seq) if request.since else None
    return _answer(services.listeners.begin(turn.caller, selection, since), selection)


async def unsubscribe(
    services: Services, _record: None, request: UnsubscribeEvents, turn: Turn
) -> dict[str, Any]:
    """Let the client hear nothing more, or nothing of what is named."""
    containers, events = request.containers or (), frozenset(request.events or ())
    if request.containers is None and request.events is None:
        left = NOTHING
    else:
        heard = services.listeners.selection_of(turn.caller)
        left = heard.less(containers, events, frozenset(event_kinds()))
    return _answer(services.listeners.narrow(turn.caller, left), left)


def _answer(position: Position, selection: Selection) -> dict[str, Any]:
    return {"epoch": position.epoch, "seq": position.seq, **selection.body()}
