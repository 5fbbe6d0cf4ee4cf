"""The book of operations: what was asked is on disk before it is done, what came of it after.

A request is known by its id, which is its asker's own. The same one again is not done again: it
waits for the one under way, or gets the answer of the one that succeeded. One that failed, or was
cut off, is begun anew. Whether a container stands for it is the labels' to say, in `claim`; that
is asked only where the book knows no answer.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from attrs import evolve

from flow_manager_core.booked import Asked, Booked, OperationState
from flow_manager_core.errors import FlowManagerError, ShuttingDown, SystemFault
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import Table
from flow_manager_core.log import get_log
from flow_manager_core.past import legible
from flow_manager_core.registry import ContainerRecord

Body = dict[str, Any]
Work = Callable[[], Awaitable[Body]]

#: Outcomes that the journal refused and this life remembers; with more, the oldest is let go.
MOST_UNRECORDED = 1000
#: Entries that are read at a time.
PAGE = 500


class _Attempt:
    """A request under way, for those who send it again meanwhile."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.body: Body | None = None
        self.error: FlowManagerError | None = None
        self.done = anyio.Event()

    async def outcome(self) -> Body:
        await self.done.wait()
        if self.error is not None:
            raise self.error.with_traceback(None)
        if self.body is None:
            raise ShuttingDown("The manager shut down before the request was done")
        return self.body


class OperationBook:
    """Keeps intent and outcome of each request that changes something and has an id.

    Args:
        error_body: the chosen error format.
    """

    def __init__(
        self, journal: JournalWriter, error_body: Callable[[FlowManagerError], Mapping[str, Any]]
    ) -> None:
        self._journal = journal
        self._error_body = error_body
        self._under_way: dict[str, _Attempt] = {}
        self._unrecorded: dict[str, Booked] = {}
        #: What an earlier life was cut off in, as long as nobody has said what came of it.
        self.open: dict[str, Booked] = {}
        self._log = get_log("operations")

    async def once(self, asked: Asked, work: Work) -> Body:
        """Do what is asked; who asks the same meanwhile waits, and gets what it came to.

        Raises:
            InvalidRequest: the id is under way with another request.
            FlowManagerError: what the work raised.
        """
        twin = self._under_way.get(asked.key)
        if twin is not None:
            asked.must_be(twin.asked.operation, twin.asked.digest)
            return await twin.outcome()
        attempt = self._under_way[asked.key] = _Attempt(asked)
        try:
            attempt.body = await work()
            return attempt.body
        except FlowManagerError as error:
            attempt.error = error
            raise
        finally:
            del self._under_way[asked.key]
            attempt.done.set()

    async def carry_out(self, asked: Asked, record: ContainerRecord | None, work: Work) -> Body:
        """Do what is asked, unless it was done; note down that it is to be done, and its outcome.

        Args:
            record: of the container that it is about; ``None``: there is none yet, or no more.

        Raises:
            InvalidRequest: the id was used for another request.
            SystemFault: it cannot be noted down; nothing was done.
            FlowManagerError: what the work raised.
        """
        known = await self.find(asked.request_id, asked.by)
        if known is not None:
            asked.must_be(known.operation, known.digest)
            if known.state is OperationState.SUCCEEDED:
                self._log.info("Answered as before", operation=asked.operation)
                return dict(known.answer or {})
        entry = _begun(asked, record, 1 if known is None else known.attempts + 1)
        await self._begin(entry, urgent=asked.ends)
        try:
            body = await work()
        except FlowManagerError as error:
            failed = evolve(entry, state=OperationState.FAILED, error=self._error_body(error))
            await self.conclude(
                evolve(failed, container=_id_of(record) or entry.container, ended=time.time()),
                urgent=asked.ends,
            )
            raise
        container = _id_of(record) or str(body.get("container_id", ""))
        await self.conclude(entry.succeeded(body, container, time.time()), urgent=asked.ends)
        return body

    async def _begin(self, entry: Booked, *, urgent: bool) -> None:
        # Before the write: with it, an outcome of a former attempt must not be written any more.
        former = self._unrecorded.pop(entry.key, None)
        try:
            await self._journal.write(entry.put, urgent=urgent)
        except SystemFault:
            if former is not None:
                self._unrecorded[entry.key] = former
            raise
        self.open.pop(entry.key, None)

    async def find(self, request_id: str, by: str) -> Booked | None:
        """The entry of a request, if it is in the book.

        Raises:
            SystemFault: the journal cannot be read.
        """
        key = Asked(operation="", request_id=request_id, digest="", by=by).key
        if key in self._unrecorded:
            return self._unrecorded[key]
        found = await self._journal.journal.get(Table.OPERATIONS, [key])
        return Booked.read(found[key]) if key in found else None

    async def conclude(self, entry: Booked, *, urgent: bool = False) -> None:
        """Note down an outcome. One that the journal refuses goes with a later one.

        Args:
            urgent: what ended something has room on a full disk.
        """
        self._unrecorded[entry.key] = entry
        writing = dict(self._unrecorded)
        try:
            await self._journal.write(*(each.put for each in writing.values()), urgent=urgent)
        except SystemFault as error:
            self._log.error(
                "An outcome is known to this life of the manager alone",
                operation=entry.operation,
                error=error.message,
            )
            if len(self._unrecorded) > MOST_UNRECORDED:
                del self._unrecorded[next(iter(self._unrecorded))]
            return
        for key, each in writing.items():
            if self._unrecorded.get(key) is each:
                del self._unrecorded[key]

    async def recall(self, error: Callable[[Booked], FlowManagerError]) -> None:
        """Note of all that an earlier life had under way that it was cut off.

        Args:
            error: says so to its asker.

        Raises:
            SystemFault: the journal cannot be read.
            ConfigurationError: an entry is none of ours.
        """
        after: str | None = ""
        while after is not None:
            rows = await self._journal.journal.read(
                Table.OPERATIONS, after=after, limit=PAGE, holding=b'"state":"running"'
            )
            with legible():
                entries = [Booked.read(value) for _, value in rows]
            for entry in entries:
                if entry.state is OperationState.RUNNING:
                    cut = evolve(
                        entry,
                        state=OperationState.INTERRUPTED,
                        error=self._error_body(error(entry)),
                        ended=time.time(),
                    )
                    self.open[cut.key] = cut
                    await self.conclude(cut)
            after = rows[-1][0] if len(rows) == PAGE else None


def _begun(asked: Asked, record: ContainerRecord | None, attempts: int) -> Booked:
    seen = None if record is None else record.container
    return Booked(
        operation=asked.operation,
        request_id=asked.request_id,
        digest=asked.digest,
        by=asked.by,
        state=OperationState.RUNNING,
        asked=time.time(),
        container=_id_of(record) or asked.subject,
        code_path=asked.code_path,
        birth="" if record is None else record.desired.key,
        run=seen.started_at.isoformat() if seen and seen.started_at else "",
        attempts=attempts,
    )


def _id_of(record: ContainerRecord | None) -> str:
    return "" if record is None else record.id
