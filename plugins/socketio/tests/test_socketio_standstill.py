"""Clients that take nothing: their connections end, whatever waits in whose buffer."""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest

from flow_manager_socketio.settings import SocketIOSettings
from tests.support.certificates import Pair, make_pair
from tests.support.socketio_wire import TEXT, Ended, Wire, frame

pytestmark = pytest.mark.anyio
TOKEN = "a token of some length"
#: Seconds of the pings, and for a connection to end: many times what it takes.
PINGS, DEADLINE = 0.3, 15.0
#: More than the kernel keeps for a connection, so that the service itself waits to write.
PIECE, PIECES = "x" * 100_000, 80


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A certificate."""
    return make_pair(tmp_path_factory.mktemp("tls"))


def connections_to(port: int) -> list[Any]:
    """What this process holds of a service's connections, and what the kernel holds for it."""
    found = psutil.net_connections("tcp")
    return [one for one in found if one.laddr and one.laddr.port == port and one.raddr]


async def until_released(port: int, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Wait until nothing is left of a service's connections."""
    with anyio.fail_after(DEADLINE):
        while await anyio.to_thread.run_sync(connections_to, port):
            meanwhile()
            await anyio.sleep(0.05)


def ask_for_much(port: int, context: ssl.SSLContext | None = None) -> Wire:
    """A client that takes nothing of what it has asked for."""
    client = Wire(port, context, room=4096).enter(TOKEN)
    request = frame(TEXT, ("421" + json.dumps(["echo", PIECE])).encode())
    for _ in range(PIECES):
        client.write(request)
    return client


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_client_that_takes_nothing_is_ended_and_all_that_it_held_released(
    serving: Any, pair: Pair, tls: bool
) -> None:
    own = SocketIOSettings(ping_interval=PINGS, ping_timeout=PINGS)
    core = {"tls_certificate": str(pair.certificate), "tls_key": str(pair.key)} if tls else {}
    context = pair.client_context() if tls else None
    async with serving(own, **core) as served:
        with await anyio.to_thread.run_sync(ask_for_much, served.port, context):
            await until_released(served.port)
            assert len(served.gateway.left) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have no such clock")
async def test_client_that_answers_pings_it_never_reads_is_ended_as_well(serving: Any) -> None:
    own = SocketIOSettings(ping_interval=PINGS, ping_timeout=PINGS)
    async with serving(own) as served:
        with await anyio.to_thread.run_sync(ask_for_much, served.port) as client:

            def pong() -> None:
                with suppress(Ended):
                    client.send("3")

            await until_released(served.port, pong)
            assert len(served.gateway.left) == 1


async def test_client_that_takes_a_little_and_answers_no_ping_is_ended_with_its_session(
    serving: Any,
) -> None:
    own = SocketIOSettings(ping_interval=PINGS, ping_timeout=PINGS)
    async with serving(own) as served:
        with await anyio.to_thread.run_sync(ask_for_much, served.port) as client:
            client.socket.settimeout(0)

            def read() -> None:
                with suppress(BlockingIOError, ConnectionError):
                    client.socket.recv(65536)

            await until_released(served.port, read)
            assert len(served.gateway.left) == 1
