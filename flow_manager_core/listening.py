"""Gives each client its events: what it missed, from the log and through its outlet; then live."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from flow_manager_core.answers import status_body
from flow_manager_core.caller import Caller
from flow_manager_core.contracts import Feed, Outlet
from flow_manager_core.errors import InvalidRequest, SystemFault
from flow_manager_core.event_stream import EventSource, Present, Replay
from flow_manager_core.gate import Gate
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault, ResourceUsage
from flow_manager_core.news import News
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.selection import EVERYTHING, NOTHING, Position, Selection
from flow_manager_core.trace import for_nobody


@frozen
class Onlooking:
    """Says how containers are, from what is known without asking the engine.

    Args:
        latest: the last sample of what a container uses.
    """

    registry: Registry
    gate: Gate
    latest: Callable[[ContainerRecord], ResourceUsage | None]

    def present(self, selection: Selection) -> Present:
        """How the selected containers are."""
        records = [r for r in self.registry if not r.gone and selection.fits(r.identity)]
        statuses = [status_body(r, self.latest(r) if r.state.alive else None) for r in records]
        return Present(statuses, self.gate.acquainted)


@define(eq=False)
class Listening:
    """What one client hears; of its own way to the live stream only one is in force."""

    selection: Selection
    feed: Feed
    outlet: Outlet
    joined: bool = False
    _over: bool = False
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)

    def goes_on(self) -> bool:
        """Whether it was not ended."""
        return not self._over

    def join(self) -> None:
        """Hear all further events live."""
        self.joined = True
        self.feed.enter(self.selection)

    def narrow(self, selection: Selection) -> None:
        """Hear less from now on."""
        self.selection = selection
        if self.joined:
            self.feed.enter(selection)

    def end(self) -> None:
        """Hear nothing more of this."""
        self._over = True
        self.feed.leave()
        self.scope.cancel()


class Listeners:
    """Begins what clients hear.

    Args:
        group: holds those that are on their way to the live stream.
    """

    def __init__(self, source: EventSource, news: News, group: TaskGroup) -> None:
        self.source = source
        self.news = news
        self._group = group
        self._log = get_log("events")

    def check(self, caller: Caller) -> tuple[Feed, Outlet]:
        """Say whether a client can choose what it hears; return what that takes.

        Raises:
            InvalidRequest: its frontend tells all clients the same.
            SystemFault: it is gone.
        """
        if caller.feed is None or caller.outlet is None:
            told = "not supported by this frontend: all its clients hear the same"
            raise InvalidRequest([Fault("operation", told)])
        if caller.gone:
            raise SystemFault("The client is gone")
        return caller.feed, caller.outlet

    def begin(
        self,
        caller: Caller,
        selection: Selection,
        since: Position | None = None,
        only: Selection = EVERYTHING,
    ) -> Position:
        """Let a client hear what is selected, in place of what it heard.

        Nothing waits here, so what a client asks for last holds.

        Args:
            since: after this it hears all; left out: from now on.
            only: of what was told before, no more than this.

        Returns:
            The position after which it hears all that is selected.

        Raises:
            InvalidRequest, SystemFault: see `check`.
        """
        feed, outlet = self.check(caller)
        self.end(caller)
        caller.listening = listening = Listening(selection, feed, outlet)
        now = Position(self.source.writer.epoch, feed.at)
        if since is None:
            listening.join()
            return now
        replay = Replay(self.source, since, lambda: listening.selection, lambda: feed.at, only)
        with for_nobody():
            self._group.start_soon(self._run, listening, replay)
        return since if self.source.fits(since, feed.at) else now

    def welcome(self, caller: Caller, selection: Selection) -> Position:
        """Let a client that has just come hear what is new, and then what is selected.

        Raises:
            InvalidRequest, SystemFault: see `check`.
        """
        news = self.news.latest()
        if news is None:
            return self.begin(caller, selection)
        return self.begin(caller, selection, self.news.start, news)

    def narrow(self, caller: Caller, selection: Selection) -> Position:
        """Let a client hear less.

        Raises:
            InvalidRequest, SystemFault: see `check`.
        """
        feed, _ = self.check(caller)
        if isinstance(caller.listening, Listening):
            caller.listening.narrow(selection)
        return Position(self.source.writer.epoch, feed.at)

    def selection_of(self, caller: Caller) -> Selection:
        """What a client hears now."""
        listening = caller.listening
        return listening.selection if isinstance(listening, Listening) else NOTHING

    def end(self, caller: Caller) -> None:
        """Let a client hear nothing more."""
        if caller.listening is not None:
            caller.listening.end()
            caller.listening = None

    async def _run(self, listening: Listening, replay: Replay) -> None:
        try:
            with listening.scope:
                await _catch_up(listening, replay)
        except Exception:  # noqa: BLE001  # one client's trouble must not end the others' streams
            self._log.exception("A client cannot be told what it missed")


async def _catch_up(listening: Listening, replay: Replay) -> None:
    while listening.goes_on():
        event = await replay.next()
        if not listening.goes_on():
            return  # while the log was read
        if event is None:
            listening.join()
            return
        await listening.outlet(event)
        await anyio.lowlevel.checkpoint()  # an outlet that has room need not wait
