"""Requests in: whatever a client emits ends here, and never without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import orjson
import socketio
from attrs import frozen
from socketio.exceptions import ConnectionRefusedError as ClientRefused

from flow_manager_core.contracts import Feed, Gateway, Selection
from flow_manager_core.errors import FlowManagerError, InvalidRequest, ShuttingDown, SystemFault
from flow_manager_core.events import Event, now
from flow_manager_core.log import Log
from flow_manager_core.models import Answer, Client, Fault
from flow_manager_core.throttle import Throttle
from flow_manager_socketio.access import Access
from flow_manager_socketio.clients import ConnectedClient, Reply
from flow_manager_socketio.engine import NAMESPACE
from flow_manager_socketio.jsontext import Unreadable, encode
from flow_manager_socketio.packets import Attachment

FRONTEND = "socketio"
_NAME_LIMIT = 128
#: Seconds between two looks at a client that reads slowly.
_GLANCE = 0.01


@frozen
class RequestLimits:
    """What one client may have under way at once, and how many clients there may be."""

    in_flight: int
    clients: int


class Requests(socketio.AsyncNamespace):  # type: ignore[misc]  # python-socketio has no types
    """The namespace ``/``."""

    def __init__(
        self,
        gateway: Gateway,
        access: Access,
        limits: RequestLimits,
        feed_of: Callable[[str], Feed],
        log: Log,
    ) -> None:
        super().__init__(NAMESPACE)
        self._feed_of = feed_of
        self._gateway = gateway
        self._access = access
        self._limits = limits
        self._log = log
        self._clients: dict[str, ConnectedClient] = {}
        self._closing = False
        self._refusals = Throttle()

    def close(self) -> None:
        """Answer every further request, and those that get cancelled, with `ShuttingDown`."""
        self._closing = True

    async def trigger_event(self, event: str, *args: Any) -> None:
        """Hear of a client that comes or goes; requests come by `reply`.

        Raises:
            ClientRefused: for a client that is not let in.
        """
        sid, *arguments = args
        if event == "connect":
            self._connect(sid, *arguments)
        else:
            self._disconnect(sid)

    async def reply(
        self, sid: str, name: object, arguments: list[object], acknowledged: bool
    ) -> Reply | None:
        """Carry out what a client emitted; ``None``: it is gone.

        Args:
            acknowledged: whether it asked for an acknowledgement.
        """
        client = self._clients.get(sid)
        if client is None:
            return None
        answer, body = await self._request(client, name, arguments)
        return Reply(answer.event if client.needs_event(acknowledged) else None, body)

    def _connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        if self._closing:
            self._refuse(ShuttingDown("The service is closing"))
        if len(self._clients) >= self._limits.clients:
            self._refuse(_too_many_clients(self._limits.clients))
        try:
            admission = self._access.admit(auth)
        except InvalidRequest as error:
            self._note_refusal(sid, environ["asgi.scope"].get("client"), error)
            self._refuse(error)
        holder = admission.holder
        client = Client(FRONTEND, sid, holder.name, holder.role)
        session = self._gateway.session(client, partial(self._tell, sid), self._feed_of(sid))
        self._clients[sid] = ConnectedClient(sid, session, admission)

    def _note_refusal(self, sid: str, address: object, error: InvalidRequest) -> None:
        """Tell of a few a second; a crowd of strangers must not fill the log."""
        if self._refusals.allow():
            untold = {"untold": count} if (count := self._refusals.take_suppressed()) else {}
            self._log.warning(
                "Client refused", client=sid, address=address, error=error.message, **untold
            )

    def _refuse(self, error: FlowManagerError) -> NoReturn:
        raise ClientRefused(error.message, self._gateway.error_body(error))

    def _disconnect(self, sid: str) -> None:
        client = self._clients.pop(sid, None)
        if client is not None:
            client.session.close()
            self._log.info("Client disconnected", client=sid, by=client.admission.holder.name)

    async def welcome(self, sid: str) -> None:
        """Greet a client that has just come in, and let it have its events from now on."""
        client = self._clients[sid]
        admission = client.admission
        position = client.session.listen(Selection(events=admission.events), admission.since)
        greeting = {
            "message": "Connected to Flow Manager",
            "version": self._gateway.version,
            "backend": self._gateway.backend_name,
            "role": str(admission.holder.role),
            "answers": admission.answers,
            "epoch": position.epoch,
            "seq": position.seq,
            "timestamp": now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        self.server.tell(sid, "connected", encode(greeting))
        self._log.info("Client connected", client=sid, by=admission.holder.name)

    async def _tell(self, sid: str, event: Event) -> None:
        """Tell one client something, and wait until it has read most of what it was told."""
        if sid in self._clients:
            self.server.tell(sid, event.name, orjson.Fragment(self._gateway.event_json(event)))
        await asyncio.sleep(0)  # queueing waits for nobody
        while sid in self._clients and not self.server.has_room(sid):  # noqa: ASYNC110  # see `Crowd`
            await asyncio.sleep(_GLANCE)

    async def _request(
        self, client: ConnectedClient, name: object, arguments: list[object]
    ) -> tuple[Answer, orjson.Fragment]:
        try:
            return _written(await self._answer(client, name, arguments))
        except asyncio.CancelledError:
            if not self._closing:
                raise
            # The task ends here all the same; the client learns why.
            return _written(self._error(ShuttingDown("The service is closing")))
        except Exception as error:  # noqa: BLE001 - no handler may raise: it would not answer
            self._log.error("Request failed", client=client.sid, error=repr(error), exc_info=error)
            fault = SystemFault(
                "The request failed unexpectedly", operation=str(name)[:_NAME_LIMIT]
            )
            return _written(self._error(fault))

    async def _answer(
        self, client: ConnectedClient, name: object, arguments: list[object]
    ) -> Answer:
        if self._closing:
            return self._error(ShuttingDown("The service is closing"))
        if client.in_flight >= self._limits.in_flight:
            return self._error(_too_many(self._limits.in_flight))
        faults = _faults_of_call(name, arguments)
        if faults:
            operation = str(name)[:_NAME_LIMIT]
            return self._error(InvalidRequest(faults, operation=operation))
        client.in_flight += 1
        try:
            return await client.session.answer(str(name), arguments[0] if arguments else None)
        finally:
            client.in_flight -= 1

    def _error(self, error: FlowManagerError) -> Answer:
        return Answer("error", self._gateway.error_body(error))


def _written(answer: Answer) -> tuple[Answer, orjson.Fragment]:
    return answer, encode(answer.body)


def _faults_of_call(name: object, arguments: list[object]) -> list[Fault]:
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_LIMIT:
        return [Fault("event", f"must be a name of 1 to {_NAME_LIMIT} characters")]
    if len(arguments) > 1:
        return [Fault("payload", f"must be one argument, not {len(arguments)}")]
    if arguments and isinstance(arguments[0], Attachment):
        return [Fault("payload", "must be JSON without binary parts")]
    if arguments and isinstance(arguments[0], Unreadable):
        return [Fault("payload", f"must be strict JSON: {arguments[0].reason}")]
    return []


def _too_many(limit: int) -> SystemFault:
    return SystemFault(
        f"Too many requests: {limit} of this client have no answer yet",
        retryable=True,
        hint="Wait for answers before sending more requests",
    )


def _too_many_clients(limit: int) -> SystemFault:
    return SystemFault(
        f"Too many clients: {limit} are connected",
        retryable=True,
        hint="Disconnect clients that are not needed, or set max_clients of socketio",
    )
