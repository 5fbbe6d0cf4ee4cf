"""Channels of real programs come back: frozen ones, half-closed ones, meddled-with ones."""

# ruff: noqa: ASYNC240  # a test may look at files while it holds the loop

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from flow_manager_core.channel import Channel
from flow_manager_core.contracts import Endpoint
from flow_manager_core.errors import ChannelTimeout, FlowManagerError, FlowNotConnected
from flow_manager_core.log import get_log
from flow_manager_core.models import Message
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_core.testing.transport_cases.channels import Witness
from flow_manager_unix_socket.settings import UnixSocketSettings
from flow_manager_unix_socket.transport import unix_socket_transport

pytestmark = pytest.mark.anyio
LIMIT = 1024 * 1024
PATIENCE = 20.0

FLOW = """
from flow_manager_sdk import Flow
flow = Flow()
flow.on("echo")(lambda data: data)
flow.run()
"""

#: A fork keeps the program's connection, though the program has ended.
LEAKS = """
import os, socket, time
channel = socket.socket(socket.AF_UNIX)
channel.connect(os.environ["FLOW_SOCKET"])
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
os._exit(0)
"""


class Life:
    """One life of a manager's channel, at a place that outlives it."""

    def __init__(self, channel: Channel, witness: Witness, endpoint: Endpoint) -> None:
        self.channel = channel
        self.witness = witness
        self.endpoint = endpoint
        self.variables = dict(endpoint.attachment(isolated=False).environment)

    async def told(self, *last: tuple[str, object]) -> None:
        """Wait until these are the last things told."""
        with anyio.fail_after(PATIENCE):
            while tuple(self.witness.told[-len(last) :]) != last:
                await anyio.sleep(0.005)

    async def talks(self) -> None:
        """Check that the flow answers."""
        reply = await self.channel.ask(Message("echo", 7), PATIENCE, lambda _: None)
        assert reply.data == 7

    def connect(self) -> socket.socket:
        """Connect as a program without the SDK."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        connection.connect(self.variables["FLOW_SOCKET"])
        return connection

    @contextmanager
    def program(self, text: str = FLOW) -> Iterator[subprocess.Popen[str]]:
        """Run a program with this channel."""
        environ = {**os.environ, **self.variables}
        command = [sys.executable, "-c", text]
        with subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.kill()


def error_frame(error: FlowManagerError) -> Message:
    return Message("error", {"message": error.message})


@asynccontextmanager
async def life(root: Path, *, heartbeat: float = 10.0, again: bool = False) -> AsyncIterator[Life]:
    witness = Witness()
    channel = Channel(witness, LIMIT, error_frame, heartbeat=heartbeat)
    if again:
        channel.assume_seen()
    context = ProviderContext(
        settings=UnixSocketSettings(watch_interval=0.05),
        core=Settings(socket_dir=root),
        log=get_log("transport.unix_socket"),
    )
    async with unix_socket_transport(context) as transport:
        yield Life(channel, witness, await transport.open("flow", channel.serve))


async def test_a_frozen_flow_is_disconnected_and_connects_again_when_it_thaws(
    tmp_path: Path,
) -> None:
    async with life(tmp_path / "s", heartbeat=0.3) as manager:
        with manager.program() as process:
            await manager.told(("up", False))
            await manager.talks()
            process.send_signal(signal.SIGSTOP)
            await manager.told(("down", "no sign of life for 0.9 s"))
            with pytest.raises(FlowNotConnected):
                await manager.channel.send(Message("echo"), 1)
            process.send_signal(signal.SIGCONT)
            await manager.told(("up", True))
            await manager.talks()
            assert len(manager.witness.told) == 3
            assert manager.witness.messages == []


async def test_a_flow_that_is_only_silent_keeps_its_connection(tmp_path: Path) -> None:
    async with life(tmp_path / "s", heartbeat=0.3) as manager:
        with manager.program():
            await manager.told(("up", False))
            await anyio.sleep(1.5)
            await manager.talks()
            assert manager.witness.told == [("up", False)]
            assert manager.witness.messages == []


async def test_a_flow_that_restarts_comes_back(tmp_path: Path) -> None:
    async with life(tmp_path / "s") as manager:
        for reconnected in (False, True, True):
            with manager.program():
                await manager.told(("up", reconnected))
                await manager.talks()
            await manager.told(("down", "closed by the flow"))


async def test_a_flow_finds_the_restarted_manager(tmp_path: Path) -> None:
    async with life(tmp_path / "s") as manager:
        held = manager.program()
        process = held.__enter__()
        await manager.told(("up", False))
    try:
        assert process.poll() is None
        for _ in range(3):
            async with life(tmp_path / "s", again=True) as manager:
                await manager.told(("up", True))
                await manager.talks()
    finally:
        held.__exit__(None, None, None)


async def test_a_removed_socket_is_made_again_and_nobody_is_thrown_out(tmp_path: Path) -> None:
    async with life(tmp_path / "s") as manager:
        with manager.program() as process:
            await manager.told(("up", False))
            place = Path(manager.variables["FLOW_SOCKET"])
            place.unlink()
            await manager.talks()
            with anyio.fail_after(PATIENCE):
                while not place.exists():
                    await anyio.sleep(0.01)
            process.kill()
            await manager.told(("down", "closed by the flow"))
        with manager.program():
            await manager.told(("up", True))
            await manager.talks()


async def test_a_connection_that_outlives_its_program_gives_way_to_the_next(
    tmp_path: Path,
) -> None:
    async with life(tmp_path / "s") as manager:
        with manager.program(LEAKS) as process:
            assert process.stdout
            child = int(await anyio.to_thread.run_sync(process.stdout.readline))
            await anyio.to_thread.run_sync(process.wait)
            assert manager.channel.connected
            with manager.program():
                await manager.told(
                    ("up", False), ("down", "replaced by a newer connection"), ("up", True)
                )
                await manager.talks()
            os.kill(child, signal.SIGKILL)


async def test_a_connection_that_outlives_its_program_can_be_ended(tmp_path: Path) -> None:
    async with life(tmp_path / "s") as manager:
        with manager.program(LEAKS) as process:
            assert process.stdout
            child = int(await anyio.to_thread.run_sync(process.stdout.readline))
            manager.channel.end("the run is over")
            await manager.told(("up", False), ("down", "the run is over"))
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_WR], ids=["reading", "writing"])
async def test_a_half_closed_connection_ends_and_the_next_one_is_taken(
    tmp_path: Path, how: int
) -> None:
    async with life(tmp_path / "s") as manager:
        with manager.connect() as connection:
            await manager.told(("up", False))
            connection.shutdown(how)
            with pytest.raises(FlowNotConnected):
                for _ in range(2):
                    await manager.channel.ask(Message("echo"), PATIENCE, lambda _: None)
            with anyio.fail_after(PATIENCE):
                while manager.channel.connected:
                    await anyio.sleep(0.005)
            with manager.program():
                await manager.told(("up", True))
                await manager.talks()
        assert len(manager.witness.told) == 3


async def test_a_flow_that_does_not_read_times_out_and_stays_connected(tmp_path: Path) -> None:
    async with life(tmp_path / "s") as manager:
        with manager.connect() as connection:
            await manager.told(("up", False))
            with pytest.raises(ChannelTimeout):
                for _ in range(50):
                    await manager.channel.send(Message("fill", "x" * 100_000), 0.1)
            while not connection.recv(1 << 20).endswith(b"}"):
                await anyio.sleep(0.001)
            await manager.channel.send(Message("after"), PATIENCE)
            assert manager.witness.told == [("up", False)]
