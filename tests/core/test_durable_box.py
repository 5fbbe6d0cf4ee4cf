"""Whatever happens, in whatever order: a flow gets its messages in order, and all of them.

A model of one container's box is held against the real one: messages are accepted and stored in
any order, connections come and break, acknowledgements come late or twice, time passes, managers
begin new lives.
"""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flow_manager_core.durable import box as box_module
from flow_manager_core.durable.box import Box
from flow_manager_core.durable.letters import End, Letter, Status

WINDOW, WINDOW_BYTES = 4, 100


@pytest.fixture(autouse=True, scope="module")
def _small_window() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(box_module, "WINDOW", WINDOW)
        patch.setattr(box_module, "WINDOW_BYTES", WINDOW_BYTES)
        yield


class Boxes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.box = Box("c")
        self.number = 0
        self.clock = 0.0
        self.letters: dict[int, Letter] = {}
        #: What this connection brought the flow, and what it has not acknowledged of that.
        self.over_this: list[int] = []
        self.unacknowledged: list[int] = []
        self.connected = False
        self.delivered: list[int] = []
        self.failed: set[int] = set()

    @rule(size=st.sampled_from([1, 10, 60, 150]), ttl=st.none() | st.integers(1, 5))
    def accept(self, size: int, ttl: int | None) -> None:
        self.number += 1
        expires = None if ttl is None else self.clock + ttl
        letter = Letter(self.number, "c", self.clock, size, expires=expires)
        self.letters[self.number] = letter
        self.box.add(letter)

    @rule(pick=st.integers(0, 5), good=st.sampled_from([True, True, True, False]))
    def journal_answers(self, pick: int, good: bool) -> None:
        waiting = [each for each in self.letters.values() if not (each.stored or each.gone)]
        if not waiting:
            return
        letter = waiting[pick % len(waiting)]
        if good:
            letter.stored = True
        else:
            self.failed.add(letter.number)
            self.box.forget(letter)

    @precondition(lambda self: not self.connected)
    @rule()
    def connect(self) -> None:
        self.connected, self.over_this, self.unacknowledged = True, [], []

    @precondition(lambda self: self.connected)
    @rule(most=st.integers(1, 6))
    def send(self, most: int) -> None:
        for letter in self.box.ready(self.clock)[:most]:
            if self.box.send(letter, self.clock):
                self._received(letter)

    def _received(self, letter: Letter) -> None:
        assert letter.stored, "sent before it was stored"
        assert not letter.overdue(self.clock), "sent after its time"
        assert letter.end is None
        before = [n for n, each in self.letters.items() if n < letter.number and self._due(each)]
        assert set(before) <= set(self.over_this), "overtook an earlier one"
        assert not self.over_this or self.over_this[-1] < letter.number
        self.over_this.append(letter.number)
        self.unacknowledged.append(letter.number)

    def _due(self, letter: Letter) -> bool:
        return letter.end is None and not letter.gone and not letter.overdue(self.clock)

    @precondition(lambda self: self.connected and self.over_this)
    @rule(back=st.integers(0, 5))
    def acknowledge(self, back: int) -> None:
        """One that it has; earlier ones, acknowledged already, as well."""
        number = self.over_this[max(0, len(self.over_this) - 1 - back)]
        self.unacknowledged = [each for each in self.unacknowledged if each > number]
        self._ends(number)

    def _ends(self, number: int) -> None:
        for letter in self.box.acknowledged(number):
            assert letter.number <= number
            letter.end = End(Status.DELIVERED, self.clock)
            self.delivered.append(letter.number)

    @precondition(lambda self: self.connected)
    @rule(seen=st.booleans())
    def break_connection(self, seen: bool) -> None:
        first = self.box.broken()
        unended = [n for n in self.unacknowledged if self.letters[n].end is None]
        assert (first.number if first else None) == (unended[0] if unended else None)
        self.connected = False
        if seen and self.over_this:  # it has dealt with all, and says so when it is back
            self._ends(self.over_this[-1])

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds: int) -> None:
        self.clock += seconds
        for letter in self.letters.values():
            if letter.overdue(self.clock) and letter.end is None and not letter.gone:
                letter.end = End(Status.UNDELIVERABLE, self.clock, "ttl")

    @rule()
    def ends_are_recorded(self) -> None:
        for letter in self.letters.values():
            if letter.end is not None and letter.stored and not letter.gone:
                self.box.forget(letter)

    @rule()
    def another_life(self) -> None:
        """What was stored is there again, in its order; ends that were not recorded are lost."""
        self.box, self.connected = Box("c"), False
        for number, letter in list(self.letters.items()):
            if letter.gone:
                continue
            if not letter.stored:
                self.failed.add(number)
                letter.gone = True
                continue
            again = Letter(number, "c", letter.at, letter.size, expires=letter.expires)
            again.stored = True
            self.letters[number] = again
            self.box.recall(again)

    @invariant()
    def the_window_is_kept(self) -> None:
        if self.connected:
            sizes = [self.letters[n].size for n in self.unacknowledged]
            assert len(sizes) <= WINDOW
            assert len(sizes) <= 1 or sum(sizes) <= WINDOW_BYTES

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        waiting = [each for each in self.letters.values() if not each.gone]
        assert self.box.size == sum(each.size for each in waiting)
        assert list(self.box.letters) == [each.number for each in waiting]

    def teardown(self) -> None:
        """At last everything arrives that has not expired, in order, and no connection breaks."""
        self.journal_is_through()
        if self.connected:
            self.break_connection(seen=False)
        self.connect()
        while letters := self.box.ready(self.clock):
            for letter in letters:
                assert self.box.send(letter, self.clock)
                self._received(letter)
            self.unacknowledged = []
            self._ends(self.over_this[-1])
        for number, letter in self.letters.items():
            ended = letter.end is not None or letter.overdue(self.clock)
            assert ended or number in self.failed, f"{number} is lost"

    def journal_is_through(self) -> None:
        for letter in self.letters.values():
            letter.stored = letter.stored or not letter.gone


TestBoxes = Boxes.TestCase
TestBoxes.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
