"""Judges why a run ended: keeps what the engine told of it, and asks where that leaves a doubt."""

from __future__ import annotations

import time
from collections.abc import Container as Containing

import anyio

from flow_manager_core.contracts import ContainerBackend, EventMemory
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.evidence import (
    Notes,
    Outside,
    ended_by_others,
    ended_with_engine,
    killed_on_return,
)
from flow_manager_core.gate import Gate
from flow_manager_core.lifecycle import Cause
from flow_manager_core.models import Container, EngineEvent, EngineInfo
from flow_manager_core.registry import ContainerRecord

#: Seconds that the engine's word of a stop may come later than the end.
STOP_WORD = 0.25
#: Seconds between two looks at whether it has come.
LOOK = 0.01
#: Seconds that an event may be older than what it tells of.
EVENT_SLACK = 1.0
#: Seconds in which an engine that is not closing answers a new connection.
CLOSING = 1.5


class Judge:
    """Holds what was heard of each container, and of the engine itself."""

    def __init__(self, backend: ContainerBackend, gate: Gate) -> None:
        self._backend = backend
        self._gate = gate
        #: The engine as it last answered.
        self.engine: EngineInfo = EngineInfo("unknown", "")
        self._returned_killing = False
        self._blind_since: float | None = None
        self._notes: dict[str, Notes] = {}

    async def meet(self, engine: EngineInfo) -> None:
        """The engine answers anew: learn what it remembers of the time before.

        Raises:
            EngineError: it cannot say.
        """
        self.engine = engine
        self._returned_killing = False
        if isinstance(self._backend, EventMemory):
            for event in await self._backend.recall():
                self.hear(event)
                self._returned_killing |= killed_on_return(event, engine)

    def hear(self, event: EngineEvent) -> None:
        """Take an event of the engine."""
        self._notes.setdefault(event.container_id, Notes()).hear(event)

    def blind(self) -> None:
        """The engine's events are no longer followed."""
        self._blind_since = time.time()

    def forget_all_but(self, listed: Containing[str]) -> None:
        """Let go of what was heard of containers that are no more."""
        self._notes = {key: notes for key, notes in self._notes.items() if key in listed}

    def heard_of_end(self, record: ContainerRecord) -> bool:
        """Whether the engine told of the end that was last seen."""
        ended = record.container.finished_at if record.container else None
        if record.gone or ended is None:
            return True
        return self._notes_of(record).died_at > ended.timestamp() - EVENT_SLACK

    def knows_better(self, record: ContainerRecord, seen: Container) -> bool:
        """Whether the engine shows a run whose end it has told already."""
        died_at = self._notes_of(record).died_at
        began = seen.started_at.timestamp() if seen.started_at else died_at
        return seen.state.alive and died_at > began

    async def cause(self, record: ContainerRecord, seen: Container) -> Cause:
        """Why the run that is seen ended."""
        if record.desired.asked_run == seen.started_at:
            return Cause.ASKED
        outside = await self._outside(record, seen)
        restarted = record.engine_life not in ("", self.engine.life)
        if restarted and ended_with_engine(
            seen,
            self._notes_of(record),
            outside,
            self.engine,
            blind_since=self._blind_since,
            killed_others=self._returned_killing,
        ):
            return Cause.OUTAGE
        asked = outside is Outside.YES
        # An engine that closes says of some that it ends them, and kills what it began meanwhile.
        if (asked or ended_by_others(seen)) and await self._engine_closes():
            return Cause.OUTAGE
        return Cause.OUTSIDE if asked else Cause.ITSELF

    async def _outside(self, record: ContainerRecord, seen: Container) -> Outside:
        """Whether it was asked to from outside; waits for the engine's word where it matters."""
        with anyio.move_on_after(STOP_WORD):
            while True:
                found = self._notes_of(record).asked_outside(seen, record.terms.stop_timeout)
                if found is not Outside.PERHAPS:
                    return found
                await anyio.sleep(LOOK)
        return Outside.NO

    async def _engine_closes(self) -> bool:
        """Whether the end is the engine's own doing: one that closes takes no new connection."""
        if self.engine.keeps_flows:
            return False
        with anyio.move_on_after(CLOSING):
            try:
                await self._backend.ping()
            except FlowManagerError:
                self._gate.doubt()
                return True
            return False
        return True

    def _notes_of(self, record: ContainerRecord) -> Notes:
        return self._notes.get(record.id) or Notes()
