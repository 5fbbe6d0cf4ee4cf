"""The end of the server is the end of every connection, whatever its peer does or leaves undone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anyio.lowlevel
import anyio.to_thread
import pytest

from tests.support.certificates import Pair, make_pair
from tests.support.socketio_wire import Wire

pytestmark = pytest.mark.anyio
TOKEN = "a token of some length"
#: The beginning of a TLS handshake, which to a server without TLS is the beginning of a request.
HALF = b"\x16\x03\x01\x02\x00\x01\x00"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A certificate."""
    return make_pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def peers() -> Iterator[ExitStack]:
    """Whoever is connected, until the end of the test."""
    with ExitStack() as stack:
        yield stack


def has_ended(peer: socket.socket) -> bool:
    """Whether a connection is over, without an answer to what TLS says at its end."""
    with socket.socket(fileno=os.dup(peer.fileno())) as line:
        line.settimeout(0)
        try:
            while line.recv(65536):
                pass
        except ConnectionError:
            return True
        except BlockingIOError:
            return False
    return True


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_nothing_is_left_open_however_little_the_peers_do(
    serving: Any, pair: Pair, peers: ExitStack, tls: bool
) -> None:
    core = {"tls_certificate": str(pair.certificate), "tls_key": str(pair.key)} if tls else {}
    context = pair.client_context() if tls else None
    silent: list[Wire] = []

    def meet(port: int) -> None:
        """A client that is in, a page, half a WebSocket, half a request or handshake."""
        silent.extend(peers.enter_context(Wire(port, context)) for _ in range(3))
        silent[0].enter(TOKEN)
        silent[1].request("Host: localhost", target="/health")
        silent[1].answer()
        silent[2].write(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n")
        silent.append(peers.enter_context(Wire(port)))
        silent[3].write(HALF)

    async with serving(**core) as served:
        await anyio.to_thread.run_sync(meet, served.port)
    assert [has_ended(wire.socket) for wire in silent] == [True] * 4


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("turns", range(4))
async def test_connection_of_the_last_moment_ends_as_well(
    serving: Any, pair: Pair, peers: ExitStack, tls: bool, turns: int
) -> None:
    core = {"tls_certificate": str(pair.certificate), "tls_key": str(pair.key)} if tls else {}
    async with serving(**core) as served:
        late = [peers.enter_context(Wire(served.port)) for _ in range(4)]
        for _ in range(turns):  # taken, in a task, with a transport, with a protocol
            await anyio.lowlevel.checkpoint()
    assert [has_ended(wire.socket) for wire in late] == [True] * 4
