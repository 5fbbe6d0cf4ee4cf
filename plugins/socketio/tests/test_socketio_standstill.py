"""Clients that take nothing: their connections end, whatever waits in whose buffer."""

from __future__ import annotations

import json
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest

from flow_manager_socketio.settings import SocketIOSettings
from tests.support.certificates import Pair, make_pair
from tests.support.socketio_wire import TEXT, Wire, frame

pytestmark = pytest.mark.anyio
TOKEN = "a token of some length"
#: Seconds of the pings, and for a connection to end: many times what it takes.
PINGS, DEADLINE = 0.3, 15.0
#: More than the kernel keeps for a connection, so that the service itself waits to write.
PIECE, PIECES = "x" * 1_000_000, 8


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A certificate."""
    return make_pair(tmp_path_factory.mktemp("tls"))


def connections_to(port: int) -> list[Any]:
    """What this process holds of a service's connections, and what the kernel holds for it."""
    found = psutil.net_connections("tcp")
    return [one for one in found if one.laddr and one.laddr.port == port and one.raddr]


async def until_released(port: int) -> None:
    """Wait until nothing is left of a service's connections."""
    with anyio.fail_after(DEADLINE):
        while connections_to(port):
            await anyio.sleep(0.05)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_client_that_takes_nothing_is_ended_by_its_pings_and_all_it_held_released(
    serving: Any, pair: Pair, tls: bool
) -> None:
    own = SocketIOSettings(ping_interval=PINGS, ping_timeout=PINGS)
    core = {"tls_certificate": str(pair.certificate), "tls_key": str(pair.key)} if tls else {}

    def ask(port: int) -> Wire:
        client = Wire(port, pair.client_context() if tls else None, room=4096).enter(TOKEN)
        request = frame(TEXT, ("421" + json.dumps(["echo", PIECE])).encode())
        for _ in range(PIECES):
            client.write(request)
        return client

    async with serving(own, **core) as served:
        with await anyio.to_thread.run_sync(ask, served.port):
            await until_released(served.port)
            assert len(served.gateway.left) == 1
