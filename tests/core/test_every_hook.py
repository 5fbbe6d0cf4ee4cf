"""One plugin may bring every part, and each part is used."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from flow_manager_core import FlowManager, PluginHost, Settings, __version__
from flow_manager_core.contracts import (
    CodeStore,
    ConnectionHandler,
    EventMemory,
    Gateway,
    ImagePuller,
    ResourceMeter,
    Session,
)
from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.log import get_log
from flow_manager_core.models import Client
from flow_manager_core.testing.memory_backend import (
    SCRIPTED,
    MemoryBackend,
    MemoryEngine,
    MemoryFlow,
    Program,
)
from flow_manager_core.testing.memory_transport import MemoryNetwork, MemoryTransport
from tests.core import window_plugin

pytestmark = pytest.mark.anyio


def house(tmp_path: Path) -> FlowManager:
    settings = Settings(
        backend="memory",
        transport="memory",
        recovery="once",
        error_format="short",
        frontends=("window",),
        journal="shelf",
        state_dir=tmp_path,
    )
    return FlowManager(settings, host=PluginHost(plugins=[window_plugin], installed=False))


async def test_a_manager_is_made_of_one_plugins_parts(tmp_path: Path) -> None:
    async with house(tmp_path) as manager, manager.subscribe() as events:
        assert manager.addresses == ["window:1"]
        assert window_plugin.SHELVES[-1] == tmp_path / "instances" / "default"
        gateway: Gateway = window_plugin.WINDOWS[0].gateway
        assert (gateway.version, gateway.backend_name) == (__version__, "memory")
        session: Session = gateway.session(Client("window", "1"))
        refused = await session.answer("start_container", {"container_id": "nobody"})
        assert (refused.event, refused.body) == ("error", {"kind": "container_not_found"})
        made = await session.answer(
            "create_container",
            {
                "image": "memory",
                "command": ["exit", "3"],
                "restart": {"policy": "on-crash"},
                "start": True,
            },
        )
        assert made.event == "container_created"
        told = []
        with anyio.fail_after(10):
            async for event in events:
                told.append(event.name)
                if event.name == "recovery_gave_up":
                    assert gateway.event_body(event)["reason"] == "once is enough"
                    break
        assert told.count("container_crashed") == 2
        assert (await gateway.health())["status"] == "healthy"
        assert gateway.position.seq > gateway.beginning.seq == 0
        assert gateway.error_body(ContainerNotFound("x")) == {"kind": "container_not_found"}
    assert window_plugin.WINDOWS == []


async def test_a_gateway_tells_a_frontend_of_every_event(tmp_path: Path) -> None:
    async with house(tmp_path):
        gateway: Gateway = window_plugin.WINDOWS[0].gateway
        async with gateway.subscribe() as events:
            answer = await gateway.session(Client("window", "1")).answer(
                "create_container", {"image": "memory", "name": "seen"}
            )
            with anyio.fail_after(10):
                event = await anext(events)
        assert gateway.event_body(event)["container_id"] == answer.body["container_id"]


async def test_what_a_backend_can_do_besides_shows_in_its_type() -> None:
    async def hello(flow: MemoryFlow) -> int:
        flow.print("hello")
        return 0

    programs: dict[str, Program] = {**SCRIPTED, "hello": hello}
    async with MemoryEngine(programs).opened() as engine:
        backend = MemoryBackend(engine, "one")
        for ability in (EventMemory, CodeStore, ResourceMeter):
            assert isinstance(backend, ability)
        assert not isinstance(backend, ImagePuller)


async def test_a_transport_hands_its_connections_to_the_handler() -> None:
    network = MemoryNetwork()
    heard = anyio.Event()

    async def handle(stream: anyio.abc.ByteStream) -> None:
        assert await stream.receive() == b"hello"
        heard.set()

    handler: ConnectionHandler = handle
    async with anyio.create_task_group() as tasks:
        endpoint = await MemoryTransport(network, get_log("test"), tasks).open("a", handler)
        environment = endpoint.attachment(isolated=False).environment
        async with await network.connect(environment) as stream:
            await stream.send(b"hello")
            with anyio.fail_after(10):
                await heard.wait()
        await endpoint.close(remove=True)
