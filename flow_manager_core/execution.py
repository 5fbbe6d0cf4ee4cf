"""Carries requests out: structure, look up, wait for the turn, run, and name what went wrong."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import anyio

from flow_manager_core.errors import (
    EngineUnavailable,
    FlowManagerError,
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
                body = await self._until_done(operation, request, payload, turns)
            except FlowManagerError as error:
                if isinstance(error, EngineUnavailable):
                    self._services.gate.doubt()
                raise self._named(error, name, payload, request_id) from error.__cause__
            except Exception as error:
                self._log.exception("An unexpected fault", operation=name)
                fault = SystemFault(f"An unexpected fault in the manager: {type(error).__name__}")
                raise self._named(fault, name, payload, request_id) from error
            self._log_success(operation, body)
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

    async def _until_done(
        self, operation: Operation, request: Request, payload: object, turns: Turns
    ) -> Any:
        if self._closing:
            raise ShuttingDown("The manager is shutting down")
        self._under_way += 1
        try:
            if operation.waits_for_flow:
                return await self._in_turn(operation, request, payload, turns)
            return await self._in_scope(operation, request, payload, turns)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _in_scope(
        self, operation: Operation, request: Request, payload: object, turns: Turns
    ) -> Any:
        """Run an operation; one that changes something is not left half done by its caller."""
        with anyio.CancelScope(shield=operation.verb is not None) as scope:
            self._scopes.add(scope)
            try:
                return await self._in_turn(operation, request, payload, turns)
            finally:
                self._scopes.discard(scope)
        raise _shut_down()

    async def _in_turn(
        self, operation: Operation, request: Request, payload: object, turns: Turns
    ) -> Any:
        """Everything up to entering the turn happens at once, so that requests keep their order."""
        services = self._services
        if operation.subject is None:
            with await turns.turn(operation.name) as turn:
                if not operation.needs_engine:
                    return await operation.run(services, None, request, turn)
                return await self._ask(operation, None, request, turn)
        services.gate.require_acquaintance()
        record = operation.subject(services, request, payload)
        with services.registry.held(record), await turns.turn(record) as turn:
            return await self._with(operation, record, request, turn)

    def _with(
        self, operation: Operation, record: ContainerRecord, request: Request, turn: Turn
    ) -> Awaitable[Any]:
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
        await self._services.gate.require()
        # Twice: what recovery holds is given up, and what it took up while we waited as well.
        self._services.recovery.cancel(record)
        async with record.lock:
            await self._services.gate.require()
            self._services.recovery.cancel(record)
            await self._services.settle(record)
            if operation.verb != "create":
                record.made()
            return await operation.run(self._services, record, request, turn)

    def _named(
        self, error: FlowManagerError, name: str, payload: object, request_id: str | None
    ) -> FlowManagerError:
        known = {"operation": name[:100]}
        given = payload.get("container_id") if isinstance(payload, dict) else None
        if isinstance(given, str):
            known["container_id"] = given[:128]
        if request_id is not None:
            known["request_id"] = request_id
        error.about(**known)
        subject = {"container_id": given[:128]} if isinstance(given, str) else {}
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
