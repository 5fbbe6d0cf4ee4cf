"""The manager dies at each commit, before and after it; then another life finishes the work."""

from __future__ import annotations

import pytest

from flow_manager_core.errors import SystemFault
from flow_manager_core.journals import Table
from tests.core.durable_life import KEY, FaultyJournal, Flow, Killed, Life, life, log_of, until

pytestmark = pytest.mark.anyio

#: Messages each way.
COUNT = 5


class Program:
    """A flow's program with a memory of its own, which outlives the managers: what the SDK does.

    It numbers what it says, says it until it is acknowledged, and does each number once.
    """

    def __init__(self) -> None:
        self.done: list[int] = []
        self.seen = 0
        self.epoch = ""
        self.stored = 0
        #: Its container is no more.
        self.removed = False

    async def work(self, flow: Flow) -> None:
        welcome = await flow.hello("p", self.epoch, self.seen)
        if welcome["epoch"] != self.epoch:
            self.epoch, self.seen = welcome["epoch"], 0
        self.stored = welcome["stored"]
        for number in range(self.stored + 1, COUNT + 1):
            await flow.send("say", number, seq=number)
        while self.stored < COUNT or len(self.done) < COUNT:
            frame = await flow.receive()
            if frame["command"] == "ack":
                self.stored = frame["data"]["seq"]
                continue
            if frame["seq"] > self.seen:
                self.seen = frame["seq"]
                self.done.append(frame["data"])
            await flow.ack(frame["seq"], self.epoch)


async def session(m: Life, program: Program, accepted: list[int]) -> None:
    """A client sends what was not accepted yet, and the program does its part."""
    if program.removed:
        await m.post.sweep(set())
        return
    for number in range(COUNT):
        if number not in accepted:
            await m.accept(number, request_id=f"r{number}")
            accepted.append(number)
    sent = [await m.accept(number, request_id=f"r{number}") for number in range(COUNT)]
    await program.work(await m.connect())
    await until(lambda: all(letter.gone for letter in sent))
    dead = await m.accept("dead", request_id="dead", ttl=0.001)
    await until(lambda: dead.gone)
    await m.accept("left", request_id="left")
    program.removed = True
    await m.post.end(KEY)


async def lives_until_done(journal: FaultyJournal, program: Program) -> int:
    """Start managers until one is through; return how many there were."""
    accepted: list[int] = []
    for number in range(1, 10):
        try:
            async with life(journal) as m:
                await session(m, program, accepted)
                return number
        except* (Killed, SystemFault):
            assert journal.died, "nothing else may end a life"
            journal.die_at = 0
    raise AssertionError("no life was through")


async def test_each_commit_can_be_the_last_one_before_and_after_it() -> None:
    journal = FaultyJournal()
    assert await lives_until_done(journal, Program()) == 1
    most = journal.commits
    assert most > 8
    for edge in ("before", "after"):
        for number in range(1, most + 1):
            journal, program = FaultyJournal(), Program()
            journal.die_at, journal.edge = number, edge
            lives = await lives_until_done(journal, program)
            where = f"killed {edge} commit {number} of {most}"
            assert program.done == list(range(COUNT)), where
            heard = [e.body["message"]["data"] for e in await log_of(journal, "message_received")]
            assert heard == list(range(1, COUNT + 1)), where
            told = [e.body["message_id"] for e in await log_of(journal, "message_delivered")]
            assert len(told) == len(set(told)) == COUNT, where
            ends = await log_of(journal, "message_undeliverable")
            reasons = [(e.body["message"]["data"], e.body["reason"]) for e in ends]
            assert reasons == [("dead", "ttl"), ("left", "container_deleted")], where
            assert await journal.read(Table.OUTBOX) == [], where
            assert await journal.read(Table.INBOX) == [], where
            assert lives <= 2, where
