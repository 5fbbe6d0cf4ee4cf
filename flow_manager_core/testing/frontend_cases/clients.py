"""What the cases build on: a manager behind the frontend, and clients that come in through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

import anyio
import pytest
from anyio.abc import TaskStatus
from attrs import define, field

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.framing import encode_frame
from flow_manager_core.manager import FlowManager
from flow_manager_core.models import Message
from flow_manager_core.plugins import PluginHost
from flow_manager_core.providers import ErrorFormatProvider, FrontendProvider
from flow_manager_core.settings import Settings
from flow_manager_core.testing.frontend_cases.house import House
from flow_manager_core.testing.memory_backend import (
    SCRIPTED,
    MemoryEngine,
    MemoryFlow,
    memory_provider,
)
from flow_manager_core.testing.memory_client import Told
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

#: Bytes of one frame of the flow `counting`; its frames are small.
_FRAME = 1024


class FrontendClient(Protocol):
    """A client as the suite uses it: an adapter round the frontend's own kind of client."""

    async def request(self, name: str, payload: object) -> Told:
        """Send a request, return its response event's name and body.

        Requests go out in the order of the calls, although each call waits for its answer.
        """

    def events(self) -> AsyncIterator[Told]:
        """Follow the server events that reached this client since it came in, in their order.

        What only this kind of frontend tells, a greeting for instance, may be among them.
        """


def unusual_format(
    error: FlowManagerError,
    at: datetime,  # noqa: ARG001 - the contract passes it
) -> Mapping[str, Any]:
    """An error format that no frontend can have built in; it holds no time."""
    return {"oops": error.error_type, "told": error.message, "about": dict(error.details)}


UNUSUAL = ErrorFormatProvider(name="unusual", factory=lambda _context: unusual_format)


@define
class Listener:
    """Keeps what a client hears."""

    heard: list[Told] = field(factory=list)

    async def listen(
        self, client: FrontendClient, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Hear until cancelled, or until the client's connection ends."""
        task_status.started()
        async for told in client.events():
            self.heard.append(told)

    def about(self, *container_ids: str) -> list[Told]:
        """What was heard of these containers."""
        return [told for told in self.heard if told[1].get("container_id") in container_ids]

    def bodies(self, name: str) -> list[Any]:
        """The bodies of the events of one name."""
        return [body for heard, body in self.heard if heard == name]


class FrontendClients:
    """The hooks of the suite. Set the attributes; override a method where they do not suffice."""

    #: The frontend's provider record.
    provider: ClassVar[FrontendProvider]
    #: The provider's settings; ``None``: its settings class with its defaults.
    settings: ClassVar[object] = None
    #: What the manager asks its clients to present, if the frontend does so.
    token: ClassVar[str] = "the suite's token"
    #: The manager's settings that differ from the suite's.
    core: ClassVar[Mapping[str, Any]] = {}
    #: Whether what a client hears is kept for it while there is no manager, as by a broker. Such a
    #: client comes before the manager to hear its news, any other one after.
    kept: ClassVar[bool] = False
    #: Seconds that a condition may take to come true.
    patience: ClassVar[float] = 20.0
    #: Seconds in which the frontend must be closed, whatever its clients do.
    prompt: ClassVar[float] = 2.5

    folder: Path

    pytestmark: ClassVar[pytest.MarkDecorator] = pytest.mark.anyio

    def client(self, address: str) -> AbstractAsyncContextManager[FrontendClient]:
        """Let a client in, which hears all events from then on; leaving it is its end.

        Args:
            address: what the frontend names as its first address.
        """
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @asynccontextmanager
    async def house(self, engine: MemoryEngine | None = None, **core: Any) -> AsyncIterator[House]:
        """One life of a manager behind the frontend; all lives of a test share one state folder.

        Args:
            engine: one that outlives the manager.
            core: the manager's settings.
        """
        network = MemoryNetwork()
        async with AsyncExitStack() as stack:
            if engine is None:
                engine = await stack.enter_async_context(new_engine())
            engine.programs["counting"] = _counting(network)
            own = {} if self.settings is None else {self.provider.name: self.settings}
            manager = FlowManager(
                self.core_settings(**core),
                host=PluginHost(installed=False),
                provider_settings=own,
                backend=memory_provider(engine),
                transport=memory_transport_provider(network),
                error_format=UNUSUAL,
                frontends=[self.provider],
            )
            yield House(await stack.enter_async_context(manager), engine)

    def core_settings(self, **core: Any) -> Settings:
        """The manager's settings."""
        usual = {
            "state_dir": self.folder / "state",
            "port": 0,
            "token": self.token,
            "recovery": "none",
        }
        return Settings(**{**usual, **self.core, **core})

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds.

        Raises:
            TimeoutError: it did not, for as long as `patience`.
        """
        with anyio.fail_after(self.patience):
            while not condition():
                await anyio.sleep(0.005)

    async def ask(self, client: FrontendClient, name: str, payload: object) -> Told:
        """Ask within `patience`."""
        with anyio.fail_after(self.patience):
            return await client.request(name, payload)

    async def ask_in_order(
        self, client: FrontendClient, requests: Sequence[tuple[str, object]]
    ) -> list[Told]:
        """Send all requests at once, in this order; return the answers in the order they came."""
        answers: list[Told] = []

        async def one(name: str, payload: object, *, task_status: TaskStatus[None]) -> None:
            task_status.started()
            answers.append(await self.ask(client, name, payload))

        async with anyio.create_task_group() as group:
            for name, payload in requests:
                await group.start(one, name, payload)
        return answers


def new_engine() -> AbstractAsyncContextManager[MemoryEngine]:
    """An engine that has the scripted programs."""
    return MemoryEngine(SCRIPTED).opened()


def _counting(network: MemoryNetwork) -> Callable[[MemoryFlow], Any]:
    """A program that sends the messages 0, 1, 2 ... up to its argument, and stays."""

    async def program(flow: MemoryFlow) -> None:
        async with await network.connect(flow.environment) as stream:
            for number in range(int(flow.command[0])):
                await stream.send(encode_frame(Message("count", number), _FRAME))
            await anyio.sleep_forever()

    return program
