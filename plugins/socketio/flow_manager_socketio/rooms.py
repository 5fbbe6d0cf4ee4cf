"""Who gets which server events: rooms by kind, by container, and by both.

A client is in rooms of one scope alone, which is all that it says of containers and labels, and
each event goes to one room of a scope at most for all its kinds and to one for its own: so nobody
gets an event twice. Which scopes an event's container fits is found out once for each container.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable

from attrs import define, field

from flow_manager_core.contracts import Selection
from flow_manager_core.events import Event

#: The room of clients that want every server event. Client ids have no spaces in them.
ALL_EVENTS = "all events"
#: Containers of which it is remembered what they fit.
_KNOWN = 10_000

Selects = Callable[[Selection, Event], bool]
Move = Callable[[str, str], None]


def room_of(event: str) -> str:
    """The room of clients that chose this event among others."""
    return f"event {event}"


@define
class _Scope:
    """One choice of containers and labels, as long as somebody has it."""

    selection: Selection
    number: int
    clients: int = 0

    def hears(self, event: str, taken: Container[str]) -> bool:
        """Whether one of its rooms for events of this name is among those taken."""
        return any(room in taken for room in (*self.rooms(None), *self.rooms([event])))

    def rooms(self, events: Iterable[str] | None) -> list[str]:
        """The rooms of its clients that want events of these kinds."""
        if events is None:
            return [f"scope {self.number}"]
        return [f"scope {self.number} {room_of(event)}" for event in events]


@define(eq=False)
class _Place:
    """Where a client is."""

    rooms: list[str] = field(factory=list)
    scope: _Scope | None = None


class Rooms:
    """Puts clients into rooms, and says to which rooms an event goes.

    Args:
        selects: whether an event is selected.
        enter, leave: a client's way into and out of a room, at once.
    """

    def __init__(self, selects: Selects, enter: Move, leave: Move) -> None:
        self._selects = selects
        self._enter = enter
        self._leave = leave
        self._places: dict[str, _Place] = {}
        self._scopes: dict[Selection, _Scope] = {}
        self._numbers = 0
        self._taken: Counter[str] = Counter()
        self._fitting: dict[str, list[_Scope]] = {}

    def enter(self, sid: str, selection: Selection) -> None:
        """Give a client what is selected, in place of what it got."""
        self.leave(sid)
        place = self._places[sid] = _Place()
        if selection.everywhere:
            chosen = selection.events
            place.rooms = [ALL_EVENTS] if chosen is None else [room_of(name) for name in chosen]
        else:
            place.scope = self._scope(selection.scope)
            place.rooms = place.scope.rooms(selection.events)
        self._taken.update(place.rooms)
        for room in place.rooms:
            self._enter(sid, room)

    def leave(self, sid: str) -> None:
        """Give a client nothing more."""
        place = self._places.pop(sid, None)
        if place is None:
            return
        for room in place.rooms:
            self._leave(sid, room)
            self._taken[room] -= 1
            if not self._taken[room]:
                del self._taken[room]  # clients may ask for names of their own
        if place.scope is not None:
            self._release(place.scope)

    def hear(self, event: str) -> bool:
        """Whether anybody may get an event of this name; what nobody hears is not even written."""
        if ALL_EVENTS in self._taken or room_of(event) in self._taken:
            return True
        return any(scope.hears(event, self._taken) for scope in self._scopes.values())

    def of(self, event: Event) -> list[str]:
        """The rooms whose clients get an event."""
        rooms = [ALL_EVENTS, room_of(event.name)]
        for scope in self._fits(event) if self._scopes else ():
            rooms += scope.rooms(None) + scope.rooms([event.name])
        return rooms

    def _fits(self, event: Event) -> list[_Scope]:
        found = self._fitting.get(event.container_id)
        if found is None:
            if len(self._fitting) >= _KNOWN:
                self._fitting.clear()
            found = [s for s in self._scopes.values() if self._selects(s.selection, event)]
            self._fitting[event.container_id] = found
        return found

    def _scope(self, selection: Selection) -> _Scope:
        scope = self._scopes.get(selection)
        if scope is None:
            self._numbers += 1
            scope = self._scopes[selection] = _Scope(selection, self._numbers)
            self._fitting.clear()
        scope.clients += 1
        return scope

    def _release(self, scope: _Scope) -> None:
        scope.clients -= 1
        if not scope.clients:
            del self._scopes[scope.selection]
            self._fitting.clear()


class ClientFeed:
    """One client's share of what the relay passes on; a `Feed`."""

    def __init__(self, sid: str, rooms: Rooms, at: Callable[[], int]) -> None:
        self._sid = sid
        self._rooms = rooms
        self._at = at

    @property
    def at(self) -> int:
        """See `Feed`."""
        return self._at()

    def enter(self, selection: Selection) -> None:
        """See `Feed`."""
        self._rooms.enter(self._sid, selection)

    def leave(self) -> None:
        """See `Feed`."""
        self._rooms.leave(self._sid)
