"""Speaks with one flow over one connection, once it has said hello with ``durable``.

Numbered messages and cumulative acknowledgements go in both directions. One task writes all of it,
so the welcome comes before all else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf
from typing import Any

import anyio
from attrs import frozen

from flow_manager_core.connection import Connection
from flow_manager_core.durable.box import WINDOW, Box
from flow_manager_core.durable.inbox import Inbox, Source
from flow_manager_core.durable.letters import SEQ, Letter, body_of
from flow_manager_core.durable.outbox import Outbox
from flow_manager_core.errors import FlowManagerError, FlowNotConnected
from flow_manager_core.events import MessageReceived
from flow_manager_core.framing import HEADER, BadFrame, encode_frame
from flow_manager_core.heartbeat import DurableHello
from flow_manager_core.journals import Journal, Table
from flow_manager_core.lines import Answers, Line
from flow_manager_core.log import get_log
from flow_manager_core.models import Message
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.reporter import Reporter, log_message

ACK = "ack"
WELCOME = "welcome"
#: The version of the protocol that has all this.
PROTOCOL = 2
#: Seconds until a journal that could not be read is asked again.
AGAIN = 1.0


@frozen
class Desk:
    """What couriers share."""

    outbox: Outbox
    inbox: Inbox
    journal: Journal
    reporter: Reporter
    limit: int


class Courier(Line):
    """See `Line`.

    Args:
        record: of the container whose flow this is.
    """

    def __init__(self, desk: Desk, record: ContainerRecord) -> None:
        self._desk = desk
        self._record = record
        self._connection: Connection
        self._greeted = anyio.Event()
        self._wake = anyio.Event()
        self._woken = False
        self._box: Box
        self._source: Source
        #: The last number of the source that the flow knows to be stored; -1: tell it anew.
        self._told = 0
        self._log = get_log("channel")

    async def greeted(self, hello: DurableHello | None) -> None:
        """See `Line`."""
        if hello is None:
            return
        self._box = self._desk.outbox.box(self._record.id)
        self._source = await self._desk.inbox.source(self._record.id, hello.source)
        self._told = self._source.stored
        self._box.wake = self._awaken
        self._source.wake = self._more_stored
        self.on: bool = True
        if hello.epoch == self._desk.outbox.epoch:
            self._settle(hello.seen)
        self._greeted.set()

    async def take(self, message: Message, size: int, answers: Answers) -> bool:
        """See `Line`."""
        if SEQ not in message.extra:
            if message.command != ACK:
                return False
            self._acknowledged(message.data)
        else:
            await self._receive(message, size, answers)
        await self._desk.reporter.relief()
        return True

    async def _receive(self, message: Message, size: int, answers: Answers) -> None:
        number = message.extra[SEQ]
        fresh = number == self._source.taken + 1
        event = MessageReceived(container_id=self._record.id, message=message.to_json())
        if fresh:
            log_message("received", self._record, message)
        answered = fresh and type(number) is int and answers(message)
        await self._desk.inbox.take(self._source, number, None if answered else event, size)

    def _acknowledged(self, data: object) -> None:
        epoch = data.get("epoch") if isinstance(data, Mapping) else None
        number = data.get("seq") if isinstance(data, Mapping) else None
        if not isinstance(epoch, str) or type(number) is not int or number < 0:
            raise BadFrame("An ack has no epoch or no seq")
        if epoch != self._desk.outbox.epoch:
            return  # of a journal that is no more: there is nothing here that it could mean
        if number > self._box.shown:
            raise BadFrame(f"The ack is for {number}, which was never sent")
        self._settle(number)

    def _settle(self, number: int) -> None:
        for letter in self._box.acknowledged(number):
            self._desk.outbox.settler.delivered(self._box, letter)
        self._awaken()

    async def run(self, connection: Connection) -> None:
        """See `Line`."""
        self._connection = connection
        await self._greeted.wait()
        try:
            await self._write(Message(WELCOME, self._welcome()))
            while True:
                self._woken = False
                await self._acknowledge()
                if not (await self._send_ready() or self._woken):
                    self._wake = anyio.Event()
                    await self._wake.wait()
        except FlowNotConnected:
            pass  # the channel sees to that

    def _welcome(self) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL,
            "epoch": self._desk.outbox.epoch,
            "stored": self._told,
            "window": WINDOW,
        }

    async def _acknowledge(self) -> None:
        """Tell the flow what is stored, if it does not know."""
        if self._told == self._source.stored:
            return
        self._told = self._source.stored
        await self._write(Message(ACK, {"source": self._source.name, SEQ: self._told}))

    async def _send_ready(self) -> bool:
        """Send what may be sent; tell whether there was something."""
        letters = self._box.ready(time.time())
        bodies = await self._bodies([letter for letter in letters if not letter.body])
        for letter in letters:
            body = letter.body or bodies.get(letter.key)
            if body is None:
                await anyio.sleep(AGAIN)
                break
            if self._box.send(letter, time.time()):
                await self._send(letter, body)
                await self._acknowledge()
        return bool(letters)

    async def _bodies(self, letters: list[Letter]) -> Mapping[str, bytes]:
        """Read them from the journal; what cannot be read now is left out."""
        if not letters:
            return {}
        try:
            rows = await self._desk.journal.get(Table.OUTBOX, [letter.key for letter in letters])
        except FlowManagerError as error:
            self._log.error("Messages cannot be read yet", error=error.message)
            return {}
        return {key: body_of(row) for key, row in rows.items()}

    async def _send(self, letter: Letter, body: bytes) -> None:
        await self._connection.write(len(body).to_bytes(HEADER, "big") + body, inf)
        letter.body = b""
        letter.sent_at = time.time()
        self._desk.reporter.counted()

    async def _write(self, message: Message) -> None:
        await self._connection.write(encode_frame(message, self._desk.limit), inf)

    def ended(self, *, told: bool) -> None:
        """See `Line`."""
        if not self.on:
            return
        self.on = False
        self._source.wake = None
        self._box.wake = None
        first = self._box.broken()
        if told and first is not None:
            self._desk.outbox.broken(self._box, first)

    def _awaken(self) -> None:
        self._woken = True
        self._wake.set()

    def _more_stored(self) -> None:
        if self._source.stored == self._told:
            self._told = -1  # what was stored already came again: its sender has not heard of it
        self._awaken()
