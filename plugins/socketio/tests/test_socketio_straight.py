"""Messages go straight to and from a WebSocket while nothing is in their way, and in order.

They go by python-engineio's queue, writer and reader where a client does not read, polls, or moves
to a WebSocket; whichever way each takes, a client must not see the difference.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import anyio
import pytest
from websockets.frames import Frame, Opcode

from flow_manager_core.events import ContainerLogged
from flow_manager_socketio.frames import text_frame
from flow_manager_socketio.settings import SocketIOSettings

pytestmark = pytest.mark.anyio
TOKEN = "a token of some length"
#: More than the kernel and the transport keep for a client that does not read.
FILLING = 200
PIECE = 64 * 1024


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_frame_is_what_websockets_makes_of_the_same_text(size: int) -> None:
    text = "é" + "x" * (size - 2) if size > 1 else "x" * size
    expected = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
    assert text_frame(text) == expected


def tell(served: Any, number: int, size: int = 0) -> None:
    """Tell everyone a numbered piece of output."""
    line = {"timestamp": "", "stream": "stdout", "line": "x" * size}
    served.gateway.bus.publish(
        ContainerLogged(container_id="c0ffee", follow_id="f", lines=[line], cursor=str(number))
    )


def number_of(packet: str) -> int:
    """Which piece of output a packet is."""
    return int(json.loads(packet[2:])[1]["cursor"])


async def test_order_is_kept_where_a_client_stops_reading_and_goes_on(
    serving: Any, raw: Any
) -> None:
    async with serving() as served, aiohttp.ClientSession() as http:
        client = raw(served)
        client.http = http
        await client.open_websocket()
        await client.enter()
        # aiohttp reads by itself until it has some packets: so much that it stops.
        for number in range(FILLING):
            tell(served, number, PIECE)
            await anyio.sleep(0)
        heard = []
        for number in range(FILLING, FILLING + 50):
            tell(served, number)
            heard += [number_of(await client.receive_until('42["container_log"')) for _ in "12"]
        while heard[-1] < FILLING + 49:
            heard.append(number_of(await client.receive_until('42["container_log"')))
        assert heard == list(range(FILLING + 50))
        await client.ws.close()


async def test_order_is_kept_where_a_client_moves_from_polling_to_a_websocket(
    serving: Any, raw: Any
) -> None:
    async with serving() as served, anyio.create_task_group() as group:

        async def go_on_telling() -> None:
            for number in range(10_000):
                tell(served, number)
                await anyio.sleep(0.001)

        client = raw(served)
        await client.open_polling()
        assert await client.post("40" + json.dumps({"token": TOKEN})) == 200
        group.start_soon(go_on_telling)
        heard = [p for _ in range(5) for p in await client.get() if p.startswith("42")]
        client.ws = await client.http.ws_connect(client._at("websocket"))
        await client.send("2probe")
        while await client.receive() != "3probe":
            pass
        heard += [p for p in await client.get() if p.startswith("42")]
        await client.send("5")
        while len(heard) < 300:
            heard.append(await client.receive_until("42"))
        told = [number_of(packet) for packet in heard if "cursor" in packet]
        assert told == list(range(told[0], told[0] + len(told)))
        group.cancel_scope.cancel()


async def test_client_whose_every_message_goes_straight_is_not_taken_for_gone(
    serving: Any, meeting: Any
) -> None:
    own = SocketIOSettings(ping_interval=0.2, ping_timeout=1.0)
    async with serving(own) as served, meeting(served) as person:
        end = anyio.current_time() + 2.0  # python-engineio's patience is 1.2
        while anyio.current_time() < end:
            assert await person.ask("echo", 1) == {"payload": 1}
            served.gateway.publish()
            await anyio.sleep(0.02)
        assert "disconnected" not in person.names()


async def test_requests_that_arrive_together_are_begun_in_their_order(
    serving: Any, deaf_client: Any
) -> None:
    async with serving() as served:
        with deaf_client(served) as client:
            await client.enter()
            await client.say(*(f'42{number}["echo",{number}]' for number in range(100)))
            await client.reads(b"4399[")
    assert [payload for _, payload in served.gateway.asked] == list(range(100))
