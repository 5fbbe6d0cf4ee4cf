"""How programs get in: alone, together, again, and each to its own endpoint."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import ByteStream

from flow_manager_core.contracts import ConnectionHandler, Endpoint
from flow_manager_core.errors import ChannelError, ConfigurationError
from flow_manager_core.testing.transport_cases.programs import Keeper, TransportPrograms, echo


class ConnectionCases(TransportPrograms):
    """Connecting, and connecting again."""

    async def test_a_program_connects_and_both_sides_talk(self) -> None:
        async with self.open() as transport:
            endpoint = await transport.open("flow", echo)
            async with await self.join(endpoint) as stream:
                await self.says(stream, b"hello")

    async def test_the_handler_may_speak_first(self) -> None:
        async def greet(stream: ByteStream) -> None:
            await stream.send(b"welcome")

        async with self.open() as transport:
            endpoint = await transport.open("flow", greet)
            async with await self.join(endpoint) as stream:
                assert await self.read(stream, 7) == b"welcome"
                await self.sees_end(stream)

    async def test_a_program_that_ended_its_connection_connects_again(self) -> None:
        async with self.open() as transport:
            endpoint = await transport.open("flow", echo)
            for _ in range(20):
                async with await self.join(endpoint) as stream:
                    await self.says(stream, b"again")

    async def test_two_connections_at_once_both_reach_the_handler(self) -> None:
        keeper = Keeper()
        async with self.open() as transport:
            endpoint = await transport.open("flow", keeper)
            async with await self.join(endpoint) as first:
                await self.until(lambda: len(keeper.streams) == 1)
                async with await self.join(endpoint) as second:
                    await self.until(lambda: len(keeper.streams) == 2)
                    await keeper.streams[0].send(b"to the first")
                    await keeper.streams[1].send(b"to the second")
                    assert await self.read(first, 12) == b"to the first"
                    assert await self.read(second, 13) == b"to the second"

    async def test_every_endpoint_has_connections_of_its_own(self) -> None:
        names = [f"flow-{number}" for number in range(20)]
        async with self.open() as transport:
            endpoints = {name: await transport.open(name, telling(name)) for name in names}
            assert len({endpoint.address for endpoint in endpoints.values()}) == len(names)
            async with anyio.create_task_group() as tasks:
                for name, endpoint in endpoints.items():
                    tasks.start_soon(self._hears, endpoint, name)

    async def test_names_that_look_alike_do_not_meet(self) -> None:
        names = (
            "flow",
            "flow.sock",
            "flow.d",
            "flow.new",
            "flow.sock.new",
            "FLOW",
            "flow_",
            "flow-",
        )
        async with self.open() as transport:
            endpoints = {name: await transport.open(name, telling(name)) for name in names}
            for name, endpoint in endpoints.items():
                await self._hears(endpoint, name)
            await endpoints.pop("flow").close(remove=True)
            for name, endpoint in endpoints.items():
                await self._hears(endpoint, name)

    async def test_an_ordinary_name_is_supported(self) -> None:
        async with self.open() as transport:
            assert not transport.unsupported("my-flow_container.1")

    async def test_an_endpoint_that_is_open_cannot_be_opened_again(self) -> None:
        async with self.open() as transport:
            endpoint = await transport.open("flow", echo)
            with pytest.raises(ChannelError, match="flow"):
                await transport.open("flow", echo)
            async with await self.join(endpoint) as stream:
                await self.says(stream, b"still here")

    async def test_two_lives_at_once_cannot_have_the_same_endpoint(self) -> None:
        async with self.open() as transport:
            endpoint = await transport.open("flow", echo)
            # A transport that has one place for all refuses the second life as a whole.
            with pytest.raises((ChannelError, ConfigurationError)) as refused:
                async with self.open() as other:
                    await other.open("flow", echo)
            assert refused.type is ConfigurationError or "flow" in str(refused.value)
            async with await self.join(endpoint) as stream:
                await self.says(stream, b"still here")

    async def test_a_handler_that_raises_hurts_neither_its_endpoint_nor_the_others(self) -> None:
        async def fail_once(stream: ByteStream) -> None:
            if await stream.receive() == b"fail":
                raise RuntimeError("the handler failed")
            await stream.send(b"well")

        async with self.open() as transport:
            failing = await transport.open("failing", fail_once)
            sound = await transport.open("sound", echo)
            async with await self.join(sound) as neighbour, await self.join(failing) as stream:
                await self.says(neighbour, b"before")
                await stream.send(b"fail")
                await self.sees_end(stream)
                await self.says(neighbour, b"after")
            async with await self.join(failing) as stream:
                await stream.send(b"work")
                assert await self.read(stream, 4) == b"well"

    async def _hears(self, endpoint: Endpoint, name: str) -> None:
        async with await self.join(endpoint) as stream:
            assert await self.read(stream, len(name)) == name.encode()
            await self.sees_end(stream)


def telling(name: str) -> ConnectionHandler:
    """Make a handler that says the name and ends the connection."""

    async def tell(stream: ByteStream) -> None:
        await stream.send(name.encode())

    return tell
