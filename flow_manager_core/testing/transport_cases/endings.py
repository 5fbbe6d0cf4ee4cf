"""How channels end: one, all, for good, or until the manager's next life."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import ByteStream

from flow_manager_core.models import Attachment
from flow_manager_core.testing.transport_cases.programs import Keeper, TransportPrograms, echo


class EndingCases(TransportPrograms):
    """Closing, cancelling, and coming back."""

    @pytest.mark.parametrize("remove", [True, False])
    async def test_a_close_ends_the_open_connections_promptly(self, remove: bool) -> None:
        keeper = Keeper()
        async with self.open() as transport:
            endpoint = await transport.open("flow", keeper)
            streams = [await self.join(endpoint) for _ in range(3)]
            await self.until(lambda: len(keeper.streams) == 3)
            await self.promptly(lambda: endpoint.close(remove=remove))
            assert keeper.ended == 3
            for stream in streams:
                await self.sees_end(stream)
                await stream.aclose()

    async def test_a_close_does_not_wait_for_a_program_that_does_not_read(self) -> None:
        async def flood(stream: ByteStream) -> None:
            while True:
                await stream.send(b"x" * 65536)

        async with self.open() as transport:
            endpoint = await transport.open("flow", flood)
            async with await self.join(endpoint) as stream:
                await self.read(stream, 1)
                await self.promptly(lambda: endpoint.close(remove=True))

    async def test_nobody_gets_in_after_a_close(self) -> None:
        async with self.open() as transport:
            endpoint = await transport.open("flow", echo)
            await endpoint.close(remove=False)
            with pytest.raises(OSError):
                await self.join(endpoint)

    async def test_a_close_leaves_the_other_endpoints_alone(self) -> None:
        async with self.open() as transport:
            closing = await transport.open("closing", echo)
            staying = await transport.open("staying", echo)
            async with await self.join(staying) as stream:
                await closing.close(remove=True)
                await self.says(stream, b"still here")
            async with await self.join(staying) as stream:
                await self.says(stream, b"and open")

    async def test_a_close_may_be_asked_for_twice(self) -> None:
        async with self.open() as transport:
            before = self.traces()
            endpoint = await transport.open("flow", echo)
            await endpoint.close(remove=False)
            await endpoint.close(remove=True)
            assert self.traces() == before

    async def test_a_close_with_remove_leaves_nothing(self) -> None:
        async with self.open() as transport:
            before = self.traces()
            endpoint = await transport.open("flow", echo)
            async with await self.join(endpoint) as stream:
                await self.says(stream, b"used")
            await endpoint.close(remove=True)
            assert self.traces() == before

    @pytest.mark.parametrize("remove", [True, False])
    async def test_a_closed_endpoint_can_be_opened_again(self, remove: bool) -> None:
        async with self.open() as transport:
            for _ in range(3):
                endpoint = await transport.open("flow", echo)
                async with await self.join(endpoint) as stream:
                    await self.says(stream, b"anew")
                await endpoint.close(remove=remove)

    @pytest.mark.parametrize("closed", [True, False])
    async def test_a_waiting_flow_gets_in_when_the_manager_comes_back(self, closed: bool) -> None:
        async with self.open() as transport:
            endpoint = await transport.open("flow", echo)
            attachment = endpoint.attachment(isolated=False)
            if closed:
                await endpoint.close(remove=False)
        talked = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._waits_and_talks, attachment, talked)
            async with self.open() as transport:
                await transport.open("flow", echo)
                with anyio.fail_after(self.patience):
                    await talked.wait()

    @pytest.mark.parametrize("isolated", [True, False])
    async def test_the_attachment_is_the_same_in_every_life(self, isolated: bool) -> None:
        found = []
        for _ in range(2):
            async with self.open() as transport:
                endpoint = await transport.open("flow", echo)
                found.append(endpoint.attachment(isolated=isolated))
        assert found[0] == found[1]

    async def test_the_attachment_names_the_channel_in_both_variables(self) -> None:
        async with self.open() as transport:
            endpoint = await transport.open("flow", echo)
            for isolated in (True, False):
                variables = endpoint.attachment(isolated=isolated).environment
                assert variables["FLOW_SOCKET"] == variables["SOCKET_PATH"] != ""

    async def test_the_end_of_a_life_ends_the_connections_promptly(self) -> None:
        keeper = Keeper()
        async with self.open() as transport:
            endpoint = await transport.open("flow", keeper)
            stream = await self.join(endpoint)
            await self.until(lambda: len(keeper.streams) == 1)
            left_at = anyio.current_time()
        assert anyio.current_time() - left_at < self.prompt
        assert keeper.ended == 1
        async with stream:
            await self.sees_end(stream)

    async def test_a_life_that_is_cancelled_ends_promptly(self) -> None:
        keeper = Keeper()
        streams: list[ByteStream] = []

        async def live() -> None:
            async with self.open() as transport:
                endpoint = await transport.open("flow", keeper)
                streams.append(await self.join(endpoint))
                await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live)
            await self.until(lambda: len(streams) == len(keeper.streams) == 1)
            left_at = anyio.current_time()
            tasks.cancel_scope.cancel()
        assert anyio.current_time() - left_at < self.prompt
        assert keeper.ended == 1
        async with streams[0] as stream:
            await self.sees_end(stream)

    async def test_what_ends_a_life_reaches_the_caller_as_it_was_raised(self) -> None:
        with pytest.raises(LookupError, match="as it was"):
            async with self.open() as transport:
                await transport.open("flow", echo)
                raise LookupError("as it was")

    async def _waits_and_talks(self, attachment: Attachment, talked: anyio.Event) -> None:
        async with await self.join_when_possible(attachment) as stream:
            await self.says(stream, b"back again")
        talked.set()
