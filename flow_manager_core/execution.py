"""Carries requests out: structure, look up, wait for the turn, run, and name what went wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio

from flow_manager_core.errands import Errand, given, name_in
from flow_manager_core.errors import (
    EngineUnavailable,
    FlowManagerError,
    InvalidRequest,
    ShuttingDown,
    SystemFault,
)
from flow_manager_core.events import ManagerStopping
from flow_manager_core.log import get_log
from flow_manager_core.metrics import UNKNOWN
from flow_manager_core.operations.operation import Operation
from flow_manager_core.operations.table import OPERATIONS, operation_named
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.requests import Request
from flow_manager_core.services import Services
from flow_manager_core.trace import current_asker, tracing
from flow_manager_core.turns import Turn, Turns
from flow_manager_core.wire import parse_request, request_id_of

#: Seconds that cancelled requests get to unwind.
UNWIND = 1.0

Work = Callable[[], Awaitable[Any]]


class Executor:
    """The one way in for requests, whoever sends them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._log = get_log("operations")
        self._under_way = 0
        self._scopes: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()
        self._closing = False

    async def execute(self, name: str, payload: object, turns: Turns) -> tuple[Operation, Any]:
        """Carry out a request; return its operation and the answer's body.

        Args:
            turns: the queue of the client that asks.

        Raises:
            FlowManagerError: with the operation and its parameters among the details.
        """
        request_id, client = request_id_of(payload), turns.caller.client
        self._services.channels.somebody_asks()
        counted = self._services.metrics.operation(name if name in OPERATIONS else UNKNOWN)
        with counted, tracing(request_id, client.name or client.frontend or None):
            try:
                operation = operation_named(name)
                operation.admit(client.role)  # before a look at what it is about
                request = parse_request(operation.request, payload)
                errand = Errand.of(operation, request, payload, turns)
                body = await self._until_done(errand)
            except FlowManagerError as error:
                if isinstance(error, EngineUnavailable):
                    self._services.gate.doubt()
                raise self._told(error, name, payload, request_id) from error.__cause__
            except Exception as error:
                fault = self._unexpected(error, name)
                raise self._told(fault, name, payload, request_id) from error
        return operation, body if request_id is None else {**body, "request_id": request_id}

    async def close(self, timeout: float) -> None:
        """Take no more requests; give those in flight `timeout` seconds, then fail them by name."""
        self._closing = True
        self._services.reporter.tell(
            ManagerStopping(container_id="", reason="the manager is shutting down")
        )
        with anyio.move_on_after(timeout, shield=True):
            await self._all_done()
        for scope in self._scopes:
            scope.cancel()
        for record in self._services.registry:
            if record.channel is not None:
                record.channel.give_up(_shut_down)
        with anyio.move_on_after(UNWIND, shield=True):
            await self._all_done()

    async def _all_done(self) -> None:
        while self._under_way:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _until_done(self, errand: Errand) -> Any:
        if self._closing:
            raise ShuttingDown("The manager is shutting down")
        self._under_way += 1
        try:
            if errand.operation.waits_for_flow:
                return await self._in_turn(errand)
            return await self._in_scope(errand)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _in_scope(self, errand: Errand) -> Any:
        """Run an operation; one that changes something is not left half done by its caller."""
        with anyio.CancelScope(shield=errand.operation.verb is not None) as scope:
            self._scopes.add(scope)
            try:
                if errand.asked is None:
                    return await self._in_turn(errand)
                return await self._services.book.once(errand.asked, partial(self._in_turn, errand))
            finally:
                self._scopes.discard(scope)
        raise _shut_down()

    async def _in_turn(self, errand: Errand) -> Any:
        """Everything up to entering the turn happens at once, so that requests keep their order."""
        services, operation, turns = self._services, errand.operation, errand.turns
        if operation.subject is None:
            with await turns.turn(operation.name) as turn:
                return await self._noted(errand, None, partial(self._of_none, errand, turn))
        try:
            services.gate.require_acquaintance()
            record = operation.subject(services, errand.request, errand.payload)
        except InvalidRequest:
            raise  # a label says that the id is another request's: this one must not have it
        except FlowManagerError as error:
            # A request that is sent again may be about what is gone since.
            return await self._noted(errand, None, partial(_fail, error))
        with services.registry.held(record), await turns.turn(record) as turn:
            if operation.verb is None:
                return await self._with(errand, record, turn)
            return await self._noted(errand, record, partial(self._with, errand, record, turn))

    async def _noted(self, errand: Errand, record: ContainerRecord | None, work: Work) -> Any:
        """Do it; what changes something is noted in the book, before and after, and in the feed."""
        if errand.operation.verb is None:
            return await work()
        work = partial(self._reported, errand, record, work)
        try:
            if errand.asked is None:
                return await work()
            await self._services.aftermath.look()
            if record is not None and errand.asked.key in self._services.book.open:
                await self._finish(record)
            return await self._services.book.carry_out(errand.asked, record, work)
        finally:
            # What it did is told before it is answered, and before the next one's turn.
            await self._services.journal.flushed()

    async def _finish(self, record: ContainerRecord) -> None:
        """Let what an earlier life was cut off in come to its end, and see whether it was that."""
        try:
            async with self._held(record):
                pass
        except FlowManagerError:
            return  # it stands in the way of the work itself, which says so
        await self._services.aftermath.look()

    async def _reported(self, errand: Errand, record: ContainerRecord | None, work: Work) -> Any:
        try:
            body = await work()
        except FlowManagerError as error:
            self._report(errand, record, error)
            raise
        except Exception as error:
            fault = self._unexpected(error, errand.operation.name)
            self._report(errand, record, fault)
            raise fault from error
        self._log_success(errand.operation, body)
        return body

    def _report(
        self, errand: Errand, record: ContainerRecord | None, error: FlowManagerError
    ) -> None:
        errand.name(error)
        container_id = "" if record is None else record.id
        self._services.reporter.failed(container_id, errand.operation.name, error)

    async def _of_none(self, errand: Errand, turn: Turn) -> Any:
        if not errand.operation.needs_engine:
            return await errand.operation.run(self._services, None, errand.request, turn)
        return await self._ask(errand.operation, None, errand.request, turn)

    def _with(self, errand: Errand, record: ContainerRecord, turn: Turn) -> Awaitable[Any]:
        operation, request = errand.operation, errand.request
        if not operation.needs_engine:
            return operation.run(self._services, record, request, turn)
        if operation.verb is None:
            return self._ask(operation, record, request, turn)
        return self._alone(operation, record, request, turn)

    async def _ask(
        self, operation: Operation, record: ContainerRecord | None, request: Request, turn: Turn
    ) -> Any:
        await self._services.gate.require()
        with self._services.gate.guarded():
            return await operation.run(self._services, record, request, turn)

    async def _alone(
        self, operation: Operation, record: ContainerRecord, request: Request, turn: Turn
    ) -> Any:
        async with self._held(record):
            if operation.verb != "create":
                record.made()
            return await operation.run(self._services, record, request, turn)

    @asynccontextmanager
    async def _held(self, record: ContainerRecord) -> AsyncIterator[None]:
        """Have a container for oneself, with nothing left to be done about it from before.

        Raises:
            FlowManagerError: that cannot be had now.
        """
        await self._services.gate.require()
        # Twice: what recovery holds is given up, and what it took up while we waited as well.
        self._services.recovery.cancel(record)
        async with record.lock:
            await self._services.gate.require()
            self._services.recovery.cancel(record)
            await self._services.settle(record)
            yield

    def _unexpected(self, error: Exception, name: str) -> SystemFault:
        self._log.error("An unexpected fault", operation=name, exc_info=error)
        return SystemFault(f"An unexpected fault in the manager: {type(error).__name__}")

    def _told(
        self, error: FlowManagerError, name: str, payload: object, request_id: str | None
    ) -> FlowManagerError:
        name_in(error, name, payload, request_id)
        container = given(payload)
        subject = {} if container is None else {"container_id": container}
        self._log.error(f"Operation: {name[:100]}", **subject, error=error.message, **_asker())
        return error

    def _log_success(self, operation: Operation, body: dict[str, Any]) -> None:
        if operation.verb is not None:
            told = "name" if operation.verb == "create" else "status"
            self._log.info(
                f"Container operation: {operation.verb}",
                container_id=body["container_id"],
                **{told: body[told]},
                **_asker(),
            )


def _shut_down() -> ShuttingDown:
    return ShuttingDown("The manager shut down before the request was done")


def _asker() -> dict[str, str]:
    """Who asked, for a line of the log; nothing for the host application itself."""
    by = current_asker()
    return {} if by is None else {"by": by}


async def _fail(error: FlowManagerError) -> Any:
    raise error
