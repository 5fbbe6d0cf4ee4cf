"""Ends the way of messages: what is told of that, and its trace in the journal, are one commit.

A journal that refuses is asked again: until it has taken an end, the message is as good as on its
way for the next life of the manager.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence

import anyio

from flow_manager_core.durable.box import Box
from flow_manager_core.durable.dead import DeadLetters
from flow_manager_core.durable.letters import (
    End,
    Letter,
    Reason,
    Status,
    body_of,
    message_of,
)
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import Event, MessageDelivered, MessageUndeliverable
from flow_manager_core.journals import Change, Drop, Journal, Table
from flow_manager_core.log import get_log
from flow_manager_core.reporter import Reporter

#: Messages, and bytes of those whose bodies are needed, that end in one commit.
BATCH = 256
BATCH_BYTES = 4 * 1024 * 1024
#: Seconds until a journal that refused is asked again.
AGAIN = 1.0


class Settler:
    """Brings ends into the journal, in their order; `run` is the one task that does it.

    Args:
        epoch: of the journal's numbers.
    """

    def __init__(
        self,
        journal: Journal,
        reporter: Reporter,
        dead: DeadLetters,
        epoch: str,
    ) -> None:
        self._journal = journal
        self._reporter = reporter
        self._dead = dead
        self._epoch = epoch
        self._waiting: deque[tuple[Box, Letter]] = deque()
        self._arrived = anyio.Event()
        self._progress: anyio.Event | None = None
        self._failures = 0
        self._log = get_log("messages")

    def delivered(self, box: Box, letter: Letter) -> None:
        """The flow acknowledged a message."""
        self._end(box, letter, End(Status.DELIVERED, time.time()))

    def undeliverable(self, box: Box, letter: Letter, reason: Reason) -> None:
        """A message will never arrive."""
        self._end(box, letter, End(Status.UNDELIVERABLE, time.time(), str(reason)))

    def stored(self, box: Box, letter: Letter) -> None:
        """A message is in the journal; its way may have ended while it went there."""
        letter.stored = True
        if letter.end is not None:
            self._put(box, letter)
        self._proceed()

    def failed(self, box: Box, letter: Letter) -> None:
        """The journal would not take a message."""
        box.forget(letter)
        self._proceed()

    async def settled(self, letters: Collection[Letter]) -> bool:
        """Wait until the ends are in the journal; false: it refused meanwhile, and is asked again.

        Args:
            letters: whose way has ended.
        """
        failures = self._failures
        for letter in letters:
            while not letter.gone:
                if self._failures != failures:
                    return False
                await self._progressed()
        return True

    async def decided(self, letter: Letter) -> bool:
        """Wait until a message is in the journal; false: it never came to be."""
        while not (letter.stored or letter.gone):
            await self._progressed()
        return letter.stored

    async def run(self) -> None:
        """Settle for as long as the manager lives."""
        again = False
        while True:
            while not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            batch = self._batch()
            try:
                await self._settle(batch, again=again)
            except FlowManagerError as error:
                again = True
                self._failures += 1
                self._log.error("Messages' ends cannot be recorded yet", error=error.message)
                self._proceed()
                await anyio.sleep(AGAIN)
                continue
            again = False
            for _ in batch:
                self._waiting.popleft()
            self._proceed()

    def _end(self, box: Box, letter: Letter, end: End) -> None:
        if letter.end is None and not letter.gone:
            letter.end = end
            if letter.stored:
                self._put(box, letter)

    def _put(self, box: Box, letter: Letter) -> None:
        self._waiting.append((box, letter))
        self._arrived.set()

    async def _progressed(self) -> None:
        self._progress = awaited = self._progress or anyio.Event()
        await awaited.wait()

    def _proceed(self) -> None:
        if self._progress is not None:
            self._progress.set()
            self._progress = None

    def _batch(self) -> list[tuple[Box, Letter]]:
        batch: list[tuple[Box, Letter]] = []
        size = 0
        for box, letter in self._waiting:
            size += letter.size if _is_dead(letter) else 0
            if batch and (len(batch) == BATCH or size > BATCH_BYTES):
                break
            batch.append((box, letter))
        return batch

    async def _settle(self, batch: Sequence[tuple[Box, Letter]], *, again: bool) -> None:
        """Record ends.

        Args:
            again: it was tried before, and is perhaps in the journal although that did not say so.
        """
        keys = [letter.key for _, letter in batch if again or _is_dead(letter)]
        rows = await self._journal.get(Table.OUTBOX, keys) if keys else {}
        left = [letter for _, letter in batch if letter.key in rows or letter.key not in keys]
        if left:
            await self._record(left, {key: body_of(row) for key, row in rows.items()})
        for box, letter in batch:
            self._dead.keep(letter)
            box.forget(letter)

    async def _record(self, letters: Sequence[Letter], bodies: Mapping[str, bytes]) -> None:
        changes: list[Change] = []
        for letter in letters:
            body = bodies[letter.key] if _is_dead(letter) else b""
            changes += [Drop(Table.OUTBOX, letter.key), self._dead.put(letter, body)]
        surplus = self._dead.surplus()
        changes += self._dead.forget(surplus)
        events = [self._told(letter, bodies.get(letter.key)) for letter in letters]
        await self._reporter.store(*changes, events=events, urgent=True)
        for status, number in surplus:
            self._dead.dropped(number, status)

    def _told(self, letter: Letter, body: bytes | None) -> Event:
        message_id = message_id_of(self._epoch, letter.number)
        if not _is_dead(letter):
            return MessageDelivered(container_id=letter.container_id, message_id=message_id)
        assert letter.end is not None
        return MessageUndeliverable(
            container_id=letter.container_id,
            message_id=message_id,
            reason=str(letter.end.reason),
            attempts=letter.attempts,
            message=message_of(body) if body else {},
        )


def _is_dead(letter: Letter) -> bool:
    return letter.end is not None and letter.end.status is Status.UNDELIVERABLE


def message_id_of(epoch: str, number: int) -> str:
    """The name of a message, for ever."""
    return f"{epoch}-{number}"
