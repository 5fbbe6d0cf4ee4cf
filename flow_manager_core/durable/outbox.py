"""Takes in durable messages to flows, and knows where each of them stands."""

from __future__ import annotations

import time

import anyio
from anyio.abc import TaskGroup
from attrs import frozen

from flow_manager_core.activities import activity
from flow_manager_core.durable.box import WINDOW, Box, Totals
from flow_manager_core.durable.dead import DeadLetters
from flow_manager_core.durable.expiry import Expiry
from flow_manager_core.durable.letters import SEQ, Letter, Reason, body_of, letter_of, row_of
from flow_manager_core.durable.limits import Limits
from flow_manager_core.durable.settling import AGAIN, Settler, message_id_of
from flow_manager_core.errors import FlowManagerError, InvalidRequest, SystemFault
from flow_manager_core.framing import HEADER, encode_frame
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import Change, Put, Table
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault, Message
from flow_manager_core.reporter import Reporter
from flow_manager_core.terms import fingerprint
from flow_manager_core.trace import for_nobody

#: The fact that names the first number that no life of this journal has given out.
FREE = "messages.free_number"
#: Numbers that are set aside in one commit; a life that ends leaves the rest of them out.
BLOCK = 1000
#: Seconds that a request waits for what an earlier one of the same id is at.
DECIDED = 5.0
#: Rows read at once at the start; each may hold a whole message.
PAGE = 50
#: Bytes of a body that is kept in memory until it is sent, where the flow takes it at once.
SHORT = 16 * 1024


@frozen(kw_only=True)
class Draft:
    """What a client asks to be delivered.

    Args:
        ttl: seconds from now.
    """

    container_id: str
    message: Message
    ttl: float | None = None
    max_deliveries: int | None = None
    request_id: str | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same request."""
        message = self.message.to_json()
        return fingerprint([self.container_id, message, self.ttl, self.max_deliveries])


class Outbox:
    """All durable messages to flows.

    Args:
        group: for what outlives the request that began it.
    """

    def __init__(
        self, writer: JournalWriter, reporter: Reporter, limits: Limits, group: TaskGroup
    ) -> None:
        self._writer = writer
        self._journal = writer.journal
        self._reporter = reporter
        self._limits = limits
        self._group = group
        self._boxes: dict[str, Box] = {}
        self._requests: dict[str, Letter] = {}
        self._free = self._reserved = 1
        self._log = get_log("messages")
        self.totals: Totals = Totals()
        self.dead: DeadLetters = DeadLetters(self._journal, limits.settled, self._forget_request)
        self.settler: Settler = Settler(self._journal, reporter, self.dead, writer.epoch)
        self.expiry: Expiry = Expiry(self._expired)

    async def load(self) -> None:
        """Find what earlier lives left, a page at a time and without its bodies.

        Raises:
            SystemFault: it cannot be read.
        """
        facts = await self._journal.get(Table.FACTS, [FREE])
        self._free = int(facts.get(FREE, b"1"))
        after = ""
        while page := await self._journal.read(Table.OUTBOX, after=after, limit=PAGE):
            for after, row in page:  # the last one is where the next page begins
                letter = letter_of(int(after), row)
                self.box(letter.container_id).recall(letter)
                self._know(letter)
        for letter in await self.dead.load():
            self._know(letter)
        self._reserved = self._free

    def _know(self, letter: Letter) -> None:
        self._free = max(self._free, letter.number + 1)
        if letter.request_id is not None:
            self._requests[letter.request_id] = letter
        if letter.end is None:
            self.expiry.add(letter)

    def box(self, container_id: str) -> Box:
        """A container's messages."""
        found = self._boxes.get(container_id)
        if found is None:
            found = self._boxes[container_id] = Box(container_id, self.totals)
        return found

    def containers(self) -> set[str]:
        """Those that have messages."""
        return {key for key, box in self._boxes.items() if box.letters}

    def waiting(self, number: int) -> Letter | None:
        """A message that has not ended."""
        found = (box.letters.get(number) for box in self._boxes.values())
        return next((letter for letter in found if letter is not None), None)

    async def accept(self, draft: Draft, *changes: Change) -> Letter:
        """Take a message in; it is in the journal once this returns.

        The same request again gets the message that it got before.

        Args:
            changes: made with it, in one commit.

        Raises:
            InvalidRequest: the request id was used for another message.
            BadFrame: it is over the limit of a frame.
            SystemFault: too many wait already, or the journal refuses.
        """
        known = self._requests.get(draft.request_id or "")
        if known is not None:
            if known.fingerprint != draft.fingerprint:
                told = "was used for a different send_message"
                raise InvalidRequest([Fault("request_id", told)])
            if await self._decided(known):
                return known
        letter, body = self._enter(draft)
        await self._store(letter, body, draft.message.command, changes)
        return letter

    async def _decided(self, letter: Letter) -> bool:
        """Wait until it is clear whether the journal has a message; tell whether it does."""
        try:
            with anyio.fail_after(DECIDED):
                return await self.settler.decided(letter)
        except TimeoutError:
            told = "It is not clear yet whether the journal has taken this message before"
            raise SystemFault(told, retryable=True) from None

    def _enter(self, draft: Draft) -> tuple[Letter, bytes]:
        """Give a message its number and its place; nobody waits meanwhile."""
        box, told = self.box(draft.container_id), draft.message
        numbered = Message(told.command, told.data, told.id, told.reply_to, {SEQ: self._free})
        body = encode_frame(numbered, self._limits.frame)[HEADER:]
        self._limits.check(
            len(box.letters) + 1,
            box.size + len(body),
            self.totals.messages + 1,
            self.totals.size + len(body),
        )
        at = time.time()
        letter = Letter(
            number=self._free,
            container_id=draft.container_id,
            at=at,
            size=len(body),
            expires=None if draft.ttl is None else at + draft.ttl,
            max_deliveries=draft.max_deliveries,
            request_id=draft.request_id,
            fingerprint=draft.fingerprint if draft.request_id else "",
        )
        box.add(letter)
        self._know(letter)
        return letter, body

    async def _store(
        self, letter: Letter, body: bytes, command: str, changes: tuple[Change, ...]
    ) -> None:
        reserve = letter.number + BLOCK if letter.number >= self._reserved else 0
        reserved = [Put(Table.FACTS, FREE, str(reserve).encode())] if reserve else []
        details = {"command": command, "message_id": message_id_of(self.epoch, letter.number)}
        line = activity(
            letter.container_id, "message_sent", f"Message accepted: {command}", details
        )
        row = Put(Table.OUTBOX, letter.key, row_of(letter, body))
        try:
            await self._reporter.store(row, *reserved, *changes, events=[line])
        except BaseException:
            # Refused, or cancelled: in either case it may be in the journal all the same.
            with for_nobody():
                self._group.start_soon(self._find_out, letter)
            raise
        self._reserved = max(self._reserved, reserve)
        self._stored(letter, body)

    def _stored(self, letter: Letter, body: bytes = b"") -> None:
        box = self.box(letter.container_id)
        self.settler.stored(box, letter)
        if box.wake is not None:
            if len(body) <= SHORT and len(box.letters) <= WINDOW:
                letter.body = body
            box.wake()

    def _failed(self, letter: Letter) -> None:
        self._forget_request(letter.request_id or "")
        self.settler.failed(self.box(letter.container_id), letter)
        self.wake(letter.container_id)

    async def _find_out(self, letter: Letter) -> None:
        """Ask the journal whether it has a message that it did not say it has taken."""
        while True:
            await self._writer.flushed()
            try:
                found = await self._journal.get(Table.OUTBOX, [letter.key])
            except FlowManagerError as error:
                self._log.error("A message cannot be looked up yet", error=error.message)
                await anyio.sleep(AGAIN)
                continue
            return self._stored(letter) if found else self._failed(letter)

    def wake(self, container_id: str) -> None:
        """There may be more to send to a flow."""
        box = self._boxes.get(container_id)
        if box is not None and box.wake is not None:
            box.wake()

    def broken(self, box: Box, letter: Letter) -> None:
        """A connection ended while this was the first message without an acknowledgement."""
        letter.attempts += 1
        if letter.max_deliveries is not None and letter.attempts >= letter.max_deliveries:
            self.settler.undeliverable(box, letter, Reason.MAX_DELIVERIES)
            return
        with for_nobody():
            self._group.start_soon(self._note_attempt, letter)

    async def _note_attempt(self, letter: Letter) -> None:
        try:
            rows = await self._journal.get(Table.OUTBOX, [letter.key])
            row = rows.get(letter.key)
            if row is None or letter.end is not None:
                return
            # Nothing is awaited between the look at its end and the writer's queue: what ends it
            # comes after this.
            again = row_of(letter, body_of(row))
            await self._reporter.store(Put(Table.OUTBOX, letter.key, again))
        except FlowManagerError as error:
            self._log.error("A delivery attempt is not recorded", error=error.message)

    async def end(self, container_id: str, reason: Reason) -> bool:
        """End the way of all messages to a container; tell whether that is in the journal."""
        box = self._boxes.get(container_id)
        if box is None:
            return True
        letters = list(box.letters.values())
        for letter in letters:
            self.settler.undeliverable(box, letter, reason)
        if not await self.settler.settled(letters):
            return False
        self._boxes.pop(container_id, None)
        return True

    @property
    def epoch(self) -> str:
        """The name of the journal in whose order messages are numbered."""
        return self._writer.epoch

    def _expired(self, letter: Letter) -> None:
        self.settler.undeliverable(self.box(letter.container_id), letter, Reason.TTL)

    def _forget_request(self, request_id: str) -> None:
        self._requests.pop(request_id, None)
