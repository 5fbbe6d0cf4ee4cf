"""A frontend in memory, for tests and for host applications that try themselves out.

Clients and manager meet at a `MemoryDoor`, which outlives the manager's lives as an address does::

    door = MemoryDoor()
    manager = FlowManager(..., frontends=[memory_frontend_provider(door)])

    async with manager, door.connect() as client:
        event, body = await client.request("list_containers", {})
        async for name, body in client.events():
            ...

What goes through the door is written as JSON and read again: nobody gets the manager's own objects.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
from anyio.abc import TaskGroup, TaskStatus

from flow_manager_core.contracts import Frontend, Gateway, Position, Selection, Session
from flow_manager_core.errors import FlowManagerError, ShuttingDown, SystemFault
from flow_manager_core.events import Event
from flow_manager_core.log import Log
from flow_manager_core.models import Client
from flow_manager_core.providers import FrontendProvider, ProviderContext
from flow_manager_core.testing.memory_client import MemoryClient, MemoryRequest, Told, as_json

#: Seconds at close for requests to be answered, and for those that get cancelled.
ANSWERING, CANCELLING = 0.5, 0.5


class MemoryDoor:
    """Where clients find the manager; there may be none behind it."""

    def __init__(self) -> None:
        self.frontend: MemoryFrontend | None = None

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[MemoryClient]:
        """Be a client; who leaves with requests under way gets no answer.

        Raises:
            ConnectionRefusedError: there is no manager.
        """
        if self.frontend is None:
            raise ConnectionRefusedError("There is no manager behind this door")
        client = await self.frontend.admit()
        try:
            yield client
        finally:
            client.leave()


class MemoryFeed:
    """One client's share of what all are told."""

    def __init__(self, frontend: MemoryFrontend) -> None:
        self._frontend = frontend
        self._selection: Selection | None = None

    @property
    def at(self) -> int:
        """The number of the last event that all were told."""
        return self._frontend.at

    def enter(self, selection: Selection) -> None:
        """Tell it what is selected."""
        self._selection = selection

    def leave(self) -> None:
        """Tell it nothing."""
        self._selection = None

    def wants(self, gateway: Gateway, event: Event) -> bool:
        """Whether it is to be told of an event."""
        return self._selection is not None and gateway.selects(self._selection, event)


class MemoryFrontend(Frontend):
    """Lets in whoever stands at the door."""

    addresses: Sequence[str] = ("memory:",)

    def __init__(self, gateway: Gateway, tasks: TaskGroup, log: Log) -> None:
        self._gateway = gateway
        self._tasks = tasks
        self._log = log
        self._clients: dict[MemoryClient, MemoryFeed] = {}
        #: The number of the last event that was passed on.
        self.at: int = 0
        self._admitted = 0
        self._active: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()

    async def admit(self) -> MemoryClient:
        """Let a client in; it hears what is new and, from now on, everything."""
        self._admitted += 1
        client = MemoryClient(self._admitted)
        self._clients[client] = MemoryFeed(self)
        await self._tasks.start(self._serve, client)
        return client

    async def relay(self, *, task_status: TaskStatus[None]) -> None:
        """Pass events on until the bus closes; after a loss, tell of it and go on."""
        since: Position | None = None
        while True:
            try:
                async with self._gateway.subscribe(since) as events:
                    if since is None:
                        self.at = self._gateway.position.seq
                        task_status.started()
                    async for event in events:
                        self._tell_everyone(event)
                return
            except FlowManagerError as error:
                since = Position(self._gateway.position.epoch, self.at)
                for client in self._clients:
                    client.tell("error", self._gateway.error_body(error))

    def _tell_everyone(self, event: Event) -> None:
        self.at = event.seq or self.at
        body = self._gateway.event_body(event)
        for client, feed in self._clients.items():
            if feed.wants(self._gateway, event):
                client.tell(event.name, body)

    async def _serve(self, client: MemoryClient, *, task_status: TaskStatus[None]) -> None:
        async def outlet(event: Event) -> None:
            client.tell(event.name, self._gateway.event_body(event))
            await client.room()

        feed = self._clients[client]
        session = self._gateway.session(Client("memory", str(client.number)), outlet, feed)
        session.listen()
        task_status.started()
        try:
            with client.asked as requests:
                async for request in requests:
                    # Begun one after the other, up to where each first waits: so they keep order.
                    await self._tasks.start(self._answer, session, request)
        finally:
            session.close()
            del self._clients[client]
            client.dismiss()

    async def _answer(
        self, session: Session, request: MemoryRequest, *, task_status: TaskStatus[None]
    ) -> None:
        task_status.started()
        scope = anyio.CancelScope()
        self._active.add(scope)
        told = self._failed(ShuttingDown("The service is closing"))
        try:
            with scope:
                answer = await session.answer(request.name, request.payload)
                told = answer.event, as_json(answer.body)
        except Exception:  # noqa: BLE001 - whoever asked is owed an answer
            self._log.exception("Request failed", operation=request.name)
            told = self._failed(SystemFault("The request failed unexpectedly"))
        finally:
            request.answer(told)
            self._active.discard(scope)
            self._idle.set()

    def _failed(self, error: FlowManagerError) -> Told:
        return "error", as_json(self._gateway.error_body(error))

    async def close(self) -> None:
        """Answer what is under way, fail the rest by name, dismiss the clients."""
        await self._until_idle(ANSWERING)
        for scope in list(self._active):
            scope.cancel()
        await self._until_idle(CANCELLING)
        for client in self._clients:
            client.dismiss()

    async def _until_idle(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._active:
                self._idle = anyio.Event()
                await self._idle.wait()


def memory_frontend_provider(door: MemoryDoor) -> FrontendProvider:
    """Make the record that chooses this frontend, by the name ``memory``."""

    def factory(
        context: ProviderContext, gateway: Gateway
    ) -> AbstractAsyncContextManager[Frontend]:
        return _opened(door, context.log, gateway)

    return FrontendProvider(name="memory", summary="a door in this process", factory=factory)


@asynccontextmanager
async def _opened(door: MemoryDoor, log: Log, gateway: Gateway) -> AsyncIterator[Frontend]:
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        frontend = MemoryFrontend(gateway, tasks, log)
        await tasks.start(frontend.relay)
        door.frontend = frontend
        try:
            yield frontend
        except Exception as error:  # noqa: BLE001 - raised again, outside of the group
            failure = error
        finally:
            door.frontend = None
            with anyio.CancelScope(shield=True):
                await frontend.close()
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
