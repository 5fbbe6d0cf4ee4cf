"""Says what came of operations that an earlier life of the manager was cut off in.

What was asked for may have been brought about all the same: by the call that was under way, or by
convergence. That is seen on the container, once nothing more is to be done about it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from flow_manager_core.answers import created_body
from flow_manager_core.booked import Booked
from flow_manager_core.desired import Need, Wish, need
from flow_manager_core.errors import FlowManagerError, SystemFault
from flow_manager_core.gate import Gate
from flow_manager_core.ledger import Ledger
from flow_manager_core.operation_book import OperationBook
from flow_manager_core.registry import ContainerRecord, Registry

#: What is done about an operation whose outcome nobody knows.
AGAIN = "Look at the container; the same request with the same request_id is carried out anew"


def cut_off(entry: Booked) -> FlowManagerError:
    """The error of an operation that the manager was killed in."""
    about = {"container_id": entry.container[:12]} if entry.container else {}
    return SystemFault(
        "The manager was stopped while it carried this out",
        retryable=True,
        hint=AGAIN,
        operation=entry.operation,
        request_id=entry.request_id,
        **about,
    )


class Aftermath:
    """Closes the book's open entries.

    Args:
        sweep: clears up what belongs to none of the listed ids.
    """

    def __init__(
        self,
        book: OperationBook,
        registry: Registry,
        ledger: Ledger,
        gate: Gate,
        sweep: Callable[[set[str]], Awaitable[None]],
    ) -> None:
        self.book = book
        self._registry = registry
        self._ledger = ledger
        self._gate = gate
        self._sweep = sweep

    async def sweep(self, listed: set[str]) -> None:
        """See `Adopter.sweep`; the containers are known then."""
        await self._sweep(listed)
        await self.look()

    async def look(self) -> None:
        """Say of each open entry what came of it, where that can be told by now."""
        if not self._gate.is_open:
            return
        for entry in list(self.book.open.values()):
            record = self._record(entry)
            if record is None and entry.birth in self._ledger.strays:
                continue  # the engine may make it yet, or it is being cleared up
            if record is not None and _unsettled(record):
                continue
            self.book.open.pop(entry.key, None)
            answer = self._answer(entry, record)
            if answer is not None:
                container = record.id if record else entry.container
                await self.book.conclude(entry.succeeded(answer, container, time.time()))

    def _record(self, entry: Booked) -> ContainerRecord | None:
        made = self._registry.with_request(entry.request_id, entry.by)
        if entry.operation in ("create_container", "restore_container"):
            return made if made is not None and made.container is not None else None
        return self._registry.with_id(entry.container)

    def _answer(self, entry: Booked, record: ContainerRecord | None) -> Mapping[str, Any] | None:
        """What it would have been answered with; ``None``: it did not come about, or who knows."""
        if record is None:
            # Without a mark there was no such container when it was asked for.
            deleted = entry.operation == "delete_container" and entry.birth
            return {"container_id": entry.container[:12], "status": "deleted"} if deleted else None
        judge = _JUDGES.get(entry.operation)
        return None if judge is None else judge(entry, record)


def _unsettled(record: ContainerRecord) -> bool:
    """Whether something is done about it, or is to be done yet."""
    if record.lock.locked() or record.container is None:
        return True
    waits = record.desired.wish is Wish.UP and not record.state.alive
    return waits or need(record.desired, record.container) is not Need.NOTHING


def _created(_entry: Booked, record: ContainerRecord) -> Mapping[str, Any] | None:
    return created_body(record)


def _started(_entry: Booked, record: ContainerRecord) -> Mapping[str, Any] | None:
    running = {"container_id": record.short_id, "status": "running"}
    return running if record.desired.wish is Wish.UP and record.state.alive else None


def _restarted(entry: Booked, record: ContainerRecord) -> Mapping[str, Any] | None:
    started = record.made().started_at
    another = started is not None and started.isoformat() != entry.run
    return _started(entry, record) if another else None


def _stopped(_entry: Booked, record: ContainerRecord) -> Mapping[str, Any] | None:
    if record.desired.wish is not Wish.DOWN or record.state.alive:
        return None
    return {"container_id": record.short_id, "status": "stopped"}


def _updated(entry: Booked, record: ContainerRecord) -> Mapping[str, Any] | None:
    """The ledger says which request gave a container its code."""
    if record.desired.code_of != entry.key:
        return None
    told = {"container_id": record.short_id, "code_path": entry.code_path}
    return {**told, "status": "updated"}


#: What each operation would have been answered with; ``None``: it did not come about.
_JUDGES: Mapping[str, Callable[[Booked, ContainerRecord], Mapping[str, Any] | None]] = {
    "create_container": _created,
    "restore_container": _created,
    "start_container": _started,
    "restart_container": _restarted,
    "stop_container": _stopped,
    "update_container": _updated,
}
