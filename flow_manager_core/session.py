"""One client's line to the manager, as frontends have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flow_manager_core.caller import Caller
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.execution import Executor
from flow_manager_core.listening import Listeners
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import Answer, Client
from flow_manager_core.selection import EVERYTHING, Position, Selection
from flow_manager_core.trace import tracing
from flow_manager_core.turns import Turns
from flow_manager_core.wire import request_id_of


class ClientSession:
    """A `Session`.

    Args:
        error_body: the chosen error format.
        metrics: counts the client, from now until it is gone.
        listeners: gives it its events.
    """

    def __init__(
        self,
        executor: Executor,
        error_body: Callable[[FlowManagerError], Mapping[str, Any]],
        caller: Caller,
        metrics: Metrics,
        listeners: Listeners,
    ) -> None:
        self._listeners = listeners
        self._executor = executor
        self._error_body = error_body
        self._turns = Turns(caller)
        self._metrics = metrics
        self._closed = False
        metrics.client_came(caller.client.frontend)

    @property
    def client(self) -> Client:
        """Whose line it is."""
        return self._turns.caller.client

    async def answer(self, name: str, payload: object) -> Answer:
        """Carry out a request; a failure is an answer too."""
        try:
            operation, body = await self._executor.execute(name, payload, self._turns)
        except FlowManagerError as error:
            with tracing(request_id_of(payload)):
                return Answer("error", self._error_body(error))
        return Answer(operation.event, body)

    def listen(self, selection: Selection = EVERYTHING, since: Position | None = None) -> Position:
        """See `Session`."""
        caller = self._turns.caller
        if since is None:
            return self._listeners.welcome(caller, selection)
        return self._listeners.begin(caller, selection, since)

    def close(self) -> None:
        """End what the client followed; the second call does nothing."""
        if not self._closed:
            self._closed = True
            self._turns.caller.close()
            self._metrics.client_left(self.client.frontend)
