"""A small real gateway to serve, and clients to serve it to."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import anyio
import pytest
import socketio
from attrs import define, evolve, field

from flow_manager_core.bus import EventBus
from flow_manager_core.contracts import Feed, Outlet, Position, Selection
from flow_manager_core.errors import ContainerNotFound, FlowManagerError
from flow_manager_core.events import Event, StatusChanged
from flow_manager_core.log import get_log
from flow_manager_core.models import Answer, Client, ContainerState
from flow_manager_core.providers import ProviderContext
from flow_manager_core.selection import EVERYTHING, Identity
from flow_manager_core.settings import Settings
from flow_manager_core.wire import event_body, event_json, standard_format
from flow_manager_socketio.frontend import serve
from flow_manager_socketio.settings import SocketIOSettings

TOKEN = "a token of some length"
DEADLINE = 5.0


@pytest.fixture(scope="module")
def anyio_backend(watched: Callable[[str], Any]) -> Any:
    """The frontend is asyncio's alone."""
    return watched("asyncio")


class SmallGateway:
    """A manager with four operations and a bus."""

    version = "1.2.3"
    backend_name = "small"
    error_media_type = "application/json"

    def __init__(self) -> None:
        self.bus = EventBus()
        self.healthy = True
        self.asked: list[tuple[str, object]] = []
        self.left: list[Client] = []
        self.outlets: list[Outlet] = []
        self.gate = anyio.Event()

    position = beginning = Position("small", 0)

    def session(
        self, client: Client, outlet: Outlet | None = None, feed: Feed | None = None
    ) -> SmallSession:
        assert outlet is not None
        assert feed is not None
        self.outlets.append(outlet)
        return SmallSession(self, client, feed)

    def selects(self, selection: Selection, event: Event) -> bool:
        return selection.matches(event.name, Identity(event.container_id))

    @asynccontextmanager
    async def subscribe(
        self,
        since: Position | None = None,
        selection: Selection | None = None,
    ) -> AsyncIterator[Any]:
        with self.bus.subscribe() as subscription:
            yield subscription

    def event_body(self, event: Event) -> Mapping[str, Any]:
        return event_body(event)

    def event_json(self, event: Event) -> bytes:
        return event_json(event)

    def error_body(self, error: FlowManagerError) -> Mapping[str, Any]:
        return standard_format(error, datetime.now(UTC))

    async def health(self) -> Mapping[str, Any]:
        return {"status": "healthy" if self.healthy else "degraded", "service": "flow-manager"}

    def ready(self) -> bool:
        return self.healthy

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        return b"flow_manager_clients 1.0\n", "text/plain; version=0.0.4"

    def publish(self, container_id: str = "c0ffee") -> None:
        """Say that some container started."""
        self.bus.publish(
            StatusChanged(
                container_id=container_id,
                old_state=ContainerState.CREATED,
                new_state=ContainerState.RUNNING,
            )
        )


@define
class SmallSession:
    """Answers by the operation's name."""

    gateway: SmallGateway
    client: Client
    feed: Feed

    def listen(self, selection: Selection = EVERYTHING, since: Position | None = None) -> Position:
        self.feed.enter(selection)
        return Position("small", self.feed.at)

    def close(self) -> None:
        self.feed.leave()
        self.gateway.left.append(self.client)

    async def answer(self, name: str, payload: object) -> Answer:
        self.gateway.asked.append((name, payload))
        if name == "wait":
            await self.gateway.gate.wait()
        elif name == "blow_up":
            raise RuntimeError("the session's own fault")
        elif name == "say_nothing":
            return Answer("said", {"body": object()})
        elif name != "echo":
            error = ContainerNotFound("Container not found: x", operation=name)
            return Answer("error", self.gateway.error_body(error))
        return Answer("echoed", {"payload": payload})


@pytest.fixture
def gateway() -> SmallGateway:
    """A manager."""
    return SmallGateway()


@define
class Served:
    """A frontend that is serving."""

    url: str
    gateway: SmallGateway

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serving(gateway: SmallGateway) -> Serve:
    """Serve the gateway; core settings by name, the frontend's own under ``own``."""

    @asynccontextmanager
    async def start(
        own: SocketIOSettings | None = None, other: SmallGateway | None = None, **core: Any
    ) -> AsyncIterator[Served]:
        settings = evolve(Settings(port=0, token=TOKEN), **core)
        context = ProviderContext(own or SocketIOSettings(), settings, get_log("socketio"))
        async with serve(context, other or gateway) as frontend:
            yield Served(frontend.addresses[0], other or gateway)

    return start


@define
class Person:
    """A real client that keeps what it hears."""

    sio: socketio.AsyncClient
    heard: list[tuple[str, Any]] = field(factory=list)

    def names(self) -> list[str]:
        return [name for name, _ in self.heard]

    def bodies(self, name: str) -> list[Any]:
        return [body for heard, body in self.heard if heard == name]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to be heard."""
        with anyio.fail_after(DEADLINE):
            while not condition():
                await anyio.sleep(0.005)

    async def hears(self, name: str, count: int = 1) -> Any:
        """Wait for an event, return the body of the last one."""
        await self.until(lambda: len(self.bodies(name)) >= count)
        return self.bodies(name)[-1]

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Emit and wait for the acknowledgement."""
        data = arguments[0] if len(arguments) == 1 else (arguments or None)
        return await self.sio.call(name, data, timeout=DEADLINE)


Meet = Callable[..., AbstractAsyncContextManager[Person]]


@pytest.fixture
def meeting() -> Meet:
    """Connect a client to a frontend."""

    @asynccontextmanager
    async def connect(served: Served, auth: Any = None, **options: Any) -> AsyncIterator[Person]:
        reconnection = options.pop("reconnection", False)
        async with AsyncExitStack() as stack:
            # A session of ours: python-engineio leaves its own open when the server goes first.
            http = await stack.enter_async_context(aiohttp.ClientSession())
            person = Person(socketio.AsyncClient(reconnection=reconnection, http_session=http))

            async def hear(event: str, *data: Any) -> None:
                person.heard.append((event, data[0] if len(data) == 1 else data))

            async def leave(*_reason: Any) -> None:
                person.heard.append(("disconnected", None))

            person.sio.on("*", hear)
            person.sio.on("disconnect", leave)
            options.setdefault("transports", ["websocket"])
            auth = {"token": TOKEN} if auth is None else auth
            stack.push_async_callback(_leave, person.sio)
            options.setdefault("wait_timeout", DEADLINE)
            await person.sio.connect(served.url, auth=auth, **options)
            yield person

    return connect


async def _leave(sio: socketio.AsyncClient) -> None:
    """Disconnect, and wait for what python-socketio leaves running behind its own back."""
    await sio.shutdown()
    session = sio.eio.http
    if session is not None and not session.closed:
        await session.close()
    await asyncio.sleep(0.02)


@define
class RawClient:
    """Engine.IO by hand, over polling or WebSocket, for what no client library would send."""

    http: aiohttp.ClientSession
    url: str
    sid: str = ""
    ws: aiohttp.ClientWebSocketResponse | None = None
    headers: dict[str, str] = field(factory=dict)

    def _at(self, transport: str) -> str:
        sid = f"&sid={self.sid}" if self.sid else ""
        return f"{self.url}/socket.io/?EIO=4&transport={transport}{sid}"

    async def open_polling(self) -> None:
        packet = await self.get()
        self.sid = json.loads(packet[0][1:])["sid"]

    async def open_websocket(self) -> None:
        self.ws = await self.http.ws_connect(self._at("websocket"), headers=self.headers)
        opened = await self.ws.receive_str(timeout=DEADLINE)
        self.sid = json.loads(opened[1:])["sid"]

    async def get(self) -> list[str]:
        async with self.http.get(self._at("polling"), headers=self.headers) as response:
            assert response.status == 200, await response.text()
            return (await response.text()).split("\x1e")

    async def post(self, *packets: str) -> int:
        body = "\x1e".join(packets)
        async with self.http.post(self._at("polling"), data=body, headers=self.headers) as response:
            return response.status

    async def send(self, packet: str | bytes) -> None:
        assert self.ws is not None
        send = self.ws.send_bytes if isinstance(packet, bytes) else self.ws.send_str
        await send(packet)

    async def receive(self) -> str | None:
        """The next packet; ``None`` when the connection has ended."""
        assert self.ws is not None
        message = await self.ws.receive(timeout=DEADLINE)
        return message.data if message.type is aiohttp.WSMsgType.TEXT else None

    async def receive_until(self, beginning: str) -> str:
        while True:
            packet = await self.receive()
            assert packet is not None, f"ended before {beginning}"
            if packet.startswith(beginning):
                return packet

    async def enter(self, auth: Any = None) -> None:
        await self.send("40" + json.dumps({"token": TOKEN} if auth is None else auth))
        await self.receive_until('42["connected"')

    async def ended(self) -> None:
        """Wait for the end of the connection."""
        while await self.receive() is not None:
            pass


@pytest.fixture
async def raw() -> AsyncIterator[Callable[..., RawClient]]:
    """Make raw clients."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE)) as http:
        made: list[RawClient] = []

        def make(served: Served, **headers: str) -> RawClient:
            named = {k.replace("_", "-"): v for k, v in headers.items()}
            made.append(RawClient(http, served.url, headers=named))
            return made[-1]

        yield make
        # In a crowd, that the server went may not have been noticed yet.
        for client in made:
            if client.ws is not None:
                await client.ws.close()
        await asyncio.sleep(0)


class DeafClient:
    """A WebSocket client that reads when it is told to."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setblocking(False)

    def __enter__(self) -> DeafClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def enter(self) -> None:
        await self._write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await self.reads(b"\r\n\r\n")
        await self.say("40" + json.dumps({"token": TOKEN}))
        await self.reads(b'"connected"')

    async def say(self, *texts: str) -> None:
        frames = [bytes([0x81, 0x80 | len(t), 0, 0, 0, 0]) + t.encode() for t in texts]
        await self._write(b"".join(frames))

    async def _write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def reads(self, awaited: bytes) -> None:
        """Read until something was said."""
        heard = b""
        with anyio.fail_after(10):
            while awaited not in heard:
                more = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
                assert more, f"ended before {awaited!r}"
                heard = heard[-200:] + more


@pytest.fixture
def deaf_client() -> Callable[[Any], DeafClient]:
    """Make clients that do not read."""
    return lambda served: DeafClient(int(served.url.rpartition(":")[2]))
