"""Whatever happens, what a client hears is the log, or it is told of each gap."""

from __future__ import annotations

from typing import Any, ClassVar

import anyio
import pytest
from attrs import define, field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow_manager_core.contracts import Position
from flow_manager_core.events import Event, GapFound, SnapshotTaken
from flow_manager_core.journals import Table
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.selection import EVERYTHING
from tests.core.event_floor import Floor, Hearer, floor, until

CLIENTS = 3
#: What may happen in one life of a manager, with a number that says to whom or how much.
STEPS = st.tuples(
    st.sampled_from(
        ["tell", "tell", "tell", "come", "come", "go", "slow", "quick", "prune", "stall", "rest"]
    ),
    st.integers(0, 40),
)
#: Lives, each on the journal of the one before or on a new one.
LIVES = st.lists(st.tuples(st.booleans(), st.lists(STEPS, max_size=25)), min_size=1, max_size=3)


@frozen(kw_only=True)
class _Begin(Event):
    """Where a client says that it stands."""

    name: ClassVar[str] = "begin"
    position: Position


@define
class Client:
    """One that comes and goes, and asks for what came after the last that it heard."""

    hearer: Hearer = field(factory=Hearer)
    here: Any = None

    def come(self, f: Floor, number: int) -> None:
        """Connect with the position; at first, with one at random."""
        self.go()
        if self.hearer.position is None:
            self.hearer.position = Position(f.writer.epoch, min(number, f.writer.last))
            self.hearer.heard.append(_Begin(container_id="", position=self.hearer.position))
        self.here = f.meet(self.hearer)
        f.listeners.begin(self.here, EVERYTHING, self.hearer.position)

    def go(self) -> None:
        """Leave."""
        if self.here is not None:
            self.here.close()
            self.here = None


def check(heard: list[Event]) -> None:
    """Each event follows the one before it; where it does not, a gap and a snapshot are between."""
    at: Position | None = None
    gap: GapFound | None = None
    for event in heard:
        if isinstance(event, _Begin):
            at = event.position
        elif isinstance(event, GapFound):
            assert at is not None
            assert event.from_ == (at.seq + 1 if event.reason == "retention" else 1)
            assert event.to >= event.from_ - 1
            assert event.epoch_ != at.epoch or event.reason != "epoch"
            gap = event
        elif isinstance(event, SnapshotTaken):
            assert gap is not None
            assert (event.epoch, event.seq) == (gap.epoch_, gap.to)
            at, gap = Position(event.epoch, event.seq), None
        else:
            assert gap is None
            assert at is not None
            assert (event.epoch, event.seq) == (at.epoch, at.seq + 1)
            at = Position(event.epoch, event.seq)


async def act(f: Floor, clients: list[Client], step: str, number: int) -> None:
    """Let one thing happen."""
    client = clients[number % CLIENTS]
    match step:
        case "tell":
            f.tell(number)
        case "come":
            client.come(f, number)
        case "go":
            client.go()
        case "slow" | "quick":
            client.hearer.tap.turn(on=step == "quick")
        case "prune":
            pages = await f.journal.read(Table.EVENTS)
            if pages:
                await f.prune(int(pages[number % len(pages)][0]))
        case "stall":
            f.tap.turn(on=number % 2 == 0)
        case "rest":
            for _ in range(number):
                await anyio.lowlevel.checkpoint()


async def life(f: Floor, clients: list[Client], steps: list[tuple[str, int]]) -> None:
    """Let things happen, and then let all hear all."""
    for client in clients:
        client.hearer.tap.turn(on=True)
    for step, number in steps:
        await act(f, clients, step, number)
    f.tap.turn(on=True)
    for client in clients:
        client.hearer.tap.turn(on=True)
    f.tell()
    await f.writer.flushed()
    last = Position(f.writer.epoch, f.writer.last)
    here = [client for client in clients if client.here is not None]
    await until(lambda: all(client.hearer.position == last for client in here))
    for client in clients:
        client.go()


async def lives(plan: list[tuple[bool, list[tuple[str, int]]]]) -> None:
    """Live through all of it."""
    journal, epoch, last = MemoryJournal(), 0, 0
    clients = [Client() for _ in range(CLIENTS)]
    for same, steps in plan:
        if not same:
            journal, epoch, last = MemoryJournal(), epoch + 1, 0
        async with floor(journal, str(epoch), last) as f:
            await life(f, clients, steps)
            last = f.writer.last
    for client in clients:
        check(client.hearer.heard)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=LIVES)
def test_what_a_client_hears_is_the_log_or_a_gap_is_told(backend: str, plan: Any) -> None:
    anyio.run(lives, plan, backend=backend)
