"""Every attack of a hostile flow over the real transports: survived, named, counted."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio import to_thread

from flow_manager_core.channel import Channel
from flow_manager_core.contracts import Endpoint, Transport
from flow_manager_core.errors import ChannelError, FlowManagerError
from flow_manager_core.events import now
from flow_manager_core.log import get_log
from flow_manager_core.models import Message
from flow_manager_core.providers import ProviderContext, TransportProvider
from flow_manager_core.settings import Settings
from flow_manager_core.wire import standard_format
from flow_manager_tcp import PROVIDER as TCP
from flow_manager_tcp import TcpSettings
from flow_manager_unix_socket.plugin import PROVIDER as UNIX
from tests.support.hostile_frames import ATTACKS, LIMIT, MALFORMED, Attack

pytestmark = pytest.mark.anyio
PATIENCE = 20.0
#: Bytes of memory for all attacks together, which go on at the same time: the allocator keeps some,
#: and there are as many connections, threads and messages as there are attacks.
SLACK = 64 * 1024 * 1024


class Witness:
    """A `ChannelListener` that keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.faults: list[ChannelError] = []
        self.bad = 0
        self.downs: list[str] = []

    def channel_up(self, *, reconnected: bool) -> None:
        pass

    def channel_down(self, reason: str) -> None:
        self.downs.append(reason)

    async def message_arrived(self, message: Message) -> None:
        self.heard.append(message.command)

    def bad_frame(self, error: ChannelError, suppressed: int) -> None:
        self.faults.append(error)
        self.bad += suppressed + (MALFORMED not in error.message)


class Victim:
    """One channel, with the hostile program at its other end.

    Args:
        name: of the attack.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.attack: Attack = ATTACKS[name]
        self.witness = Witness()
        self.channel = Channel(self.witness, LIMIT, error_frame)

    async def suffer(self, endpoint: Endpoint) -> None:
        """Let the attack come, and check all that should come of it."""
        flow = await to_thread.run_sync(connected, endpoint)
        try:
            await until(lambda: self.channel.connected)
            await to_thread.run_sync(self.attack.act, flow)
            await until(lambda: self.witness.bad >= self.attack.bad)
            await until(lambda: len(self.witness.heard) >= len(self.attack.heard))
            if self.attack.ends:
                await until(lambda: not self.channel.connected)
            self.check()
        finally:
            flow.close()
        with await to_thread.run_sync(connected, endpoint):
            await until(lambda: self.channel.connections == 2)

    def check(self) -> None:
        assert tuple(self.witness.heard) == self.attack.heard
        assert self.witness.bad == self.attack.bad
        assert all(fault.error_type == "socket_error" for fault in self.witness.faults)
        assert all(len(fault.message) < 400 for fault in self.witness.faults)
        told = [fault.message for fault in self.witness.faults]
        assert any(self.attack.told in message for message in told) or not self.attack.told, told
        assert bool(self.witness.downs) == self.attack.ends, self.witness.downs


def error_frame(error: FlowManagerError) -> Message:
    return Message("error", standard_format(error, now()))


def connected(endpoint: Endpoint) -> socket.socket:
    """Connect as the endpoint's own flow does."""
    variables = endpoint.attachment(isolated=False).environment
    address = variables["FLOW_SOCKET"]
    if not address.startswith("tcp://"):
        flow = socket.socket(socket.AF_UNIX)
        flow.connect(address)
        return flow
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    flow = socket.create_connection((host, int(port)))
    body = json.dumps({"command": "auth", "data": {"secret": variables["FLOW_SECRET"]}}).encode()
    flow.sendall(struct.pack(">I", len(body)) + body)
    (length,) = struct.unpack(">I", flow.recv(4, socket.MSG_WAITALL))
    assert json.loads(flow.recv(length, socket.MSG_WAITALL))["command"] == "welcome"
    return flow


async def until(condition: Any) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.005)


def opened(provider: TransportProvider, root: Path) -> Any:
    settings = TcpSettings(port=0) if provider is TCP else provider.settings_class()
    core = Settings(socket_dir=root / "sockets", state_dir=root / "state")
    log = get_log(f"transport.{provider.name}")
    return provider.factory(ProviderContext(settings=settings, core=core, log=log))


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="fm-"))
    yield path
    shutil.rmtree(path)


async def quiet_neighbour(transport: Transport, done: anyio.Event) -> int:
    """Ask a flow that does no harm, over and over; return how often it answered."""
    channel = Channel(Witness(), LIMIT, error_frame)
    endpoint = await transport.open("neighbour", channel.serve)
    answered = 0
    with await to_thread.run_sync(connected, endpoint) as flow:
        await until(lambda: channel.connected)
        async with anyio.create_task_group() as group:
            group.start_soon(to_thread.run_sync, answer_everything, flow)
            while not done.is_set():
                reply = await channel.ask(Message("ask", answered), PATIENCE, lambda _: None)
                assert reply.data == answered
                answered += 1
            flow.shutdown(socket.SHUT_RDWR)
    return answered


def answer_everything(flow: socket.socket) -> None:
    while header := flow.recv(4, socket.MSG_WAITALL):
        question = json.loads(flow.recv(*struct.unpack(">I", header), socket.MSG_WAITALL))
        answer = {"command": "result", "data": question["data"], "reply_to": question["id"]}
        body = json.dumps(answer).encode()
        flow.sendall(struct.pack(">I", len(body)) + body)


@pytest.mark.parametrize("provider", [UNIX, TCP], ids=["unix_socket", "tcp"])
async def test_every_attack_of_a_flow_is_survived_named_and_counted(
    provider: TransportProvider, root: Path
) -> None:
    victims = [Victim(name) for name in ATTACKS if not skipped(name, provider)]
    failed: dict[str, Exception] = {}
    before = psutil.Process().memory_info().rss

    async def attack(victim: Victim, endpoint: Endpoint) -> None:
        try:
            await victim.suffer(endpoint)
        except (AssertionError, TimeoutError, OSError) as error:
            failed[victim.name] = error

    async with opened(provider, root) as transport:
        places = [await transport.open(f"v{n}", v.channel.serve) for n, v in enumerate(victims)]
        descriptors = len(os.listdir("/proc/self/fd"))
        done, answered = anyio.Event(), 0
        async with anyio.create_task_group() as neighbours:

            async def live() -> None:
                nonlocal answered
                answered = await quiet_neighbour(transport, done)

            neighbours.start_soon(live)
            async with anyio.create_task_group() as group:
                for victim, endpoint in zip(victims, places, strict=True):
                    group.start_soon(attack, victim, endpoint)
            done.set()
        assert failed == {}
        assert answered > 10
        # One channel each is still there; nothing that a flow sent along is.
        await until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors + 2 * len(victims))
    assert psutil.Process().memory_info().rss - before < SLACK


def skipped(name: str, provider: TransportProvider) -> bool:
    return provider is TCP and name == "descriptors sent along"
