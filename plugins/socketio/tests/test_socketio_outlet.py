"""What one client alone is told: in order, held back while it does not read, at nobody's cost."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from flow_manager_core.contracts import Outlet
from flow_manager_core.events import ContainerLogged
from flow_manager_socketio.settings import SocketIOSettings

pytestmark = pytest.mark.anyio

#: Small, so that little fills it; a piece is a sixty-fourth of it.
LIMIT = 8 * 1024 * 1024
PIECE = LIMIT // 64


class Teller:
    """Tells one client numbered pieces, as long as it takes them."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self.told = 0

    async def run(self) -> None:
        while True:
            line = {"timestamp": "", "stream": "stdout", "line": f"{self.told} ".ljust(PIECE, "x")}
            await self._outlet(
                ContainerLogged(
                    container_id="c0ffee", follow_id="f", lines=[line], cursor=str(self.told)
                )
            )
            self.told += 1


async def settled(tellers: list[Teller]) -> int:
    """Wait until nothing more is taken; return how much was."""
    with anyio.fail_after(10):
        while True:
            before = sum(teller.told for teller in tellers)
            await anyio.sleep(0.1)
            if before and before == sum(teller.told for teller in tellers):
                return before


async def test_sixteen_followings_of_a_client_that_does_not_read_hold_little_and_drop_nobody(
    serving: Any, raw: Any, meeting: Any
) -> None:
    async with serving(SocketIOSettings(client_queue_bytes=LIMIT)) as served:
        client = raw(served)
        await client.open_websocket()
        await client.enter()
        async with meeting(served) as other, anyio.create_task_group() as group:
            tellers = [Teller(served.gateway.outlets[0]) for _ in range(16)]
            for teller in tellers:
                group.start_soon(teller.run)
            taken = await settled(tellers)
            # The rest is in the kernel's buffers, and aiohttp's.
            assert taken * PIECE < LIMIT + 8 * 1024 * 1024
            # It reads a little now and then, as slow clients do; others hear at once all the same.
            for number in range(200):
                served.gateway.publish(f"{number:06d}")
            reads = 0
            while len(other.bodies("status_changed")) < 200:
                await client.receive()
                await anyio.sleep(0.02)
                reads += 1
            assert reads < 50
            assert not other.bodies("container_log")
            group.cancel_scope.cancel()
        # It was not taken for one that is too slow.
        await client.send('427["echo",7]')
        await client.receive_until("437")


async def test_what_one_client_is_told_comes_in_order(serving: Any, raw: Any) -> None:
    async with serving(SocketIOSettings(client_queue_bytes=LIMIT)) as served:
        client = raw(served)
        await client.open_websocket()
        await client.enter()
        teller = Teller(served.gateway.outlets[0])
        async with anyio.create_task_group() as group:
            group.start_soon(teller.run)
            for number in range(100):
                text = await client.receive_until('42["container_log"')
                assert json.loads(text[2:])[1]["cursor"] == str(number)
            group.cancel_scope.cancel()


async def test_who_tells_a_client_that_leaves_is_let_go(serving: Any, raw: Any) -> None:
    async with serving(SocketIOSettings(client_queue_bytes=LIMIT)) as served:
        client = raw(served)
        await client.open_websocket()
        await client.enter()
        teller = Teller(served.gateway.outlets[0])
        async with anyio.create_task_group() as group:
            group.start_soon(teller.run)
            taken = await settled([teller])
            await client.ws.close()
            with anyio.fail_after(10):
                while teller.told == taken:
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        assert len(served.gateway.left) == 1
