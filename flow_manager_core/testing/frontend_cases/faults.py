"""Cases: what the frontend does when the manager behind it is at fault, or in its way."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from flow_manager_core.log import get_log
from flow_manager_core.providers import ProviderContext
from flow_manager_core.testing.frontend_cases.awkward import ROOM, AwkwardGateway
from flow_manager_core.testing.frontend_cases.clients import FrontendClients, Listener
from flow_manager_core.testing.memory_client import Told


class FaultCases(FrontendClients):
    """The frontend on its own, over a gateway that is awkward."""

    async def test_a_close_fails_by_name_what_hangs_behind_it(self) -> None:
        gateway, answers = AwkwardGateway(), list[Told]()
        async with anyio.create_task_group() as group, AsyncExitStack() as stack:
            async with self._serving(gateway) as address:
                client = await stack.enter_async_context(self.client(address))

                async def ask() -> None:
                    answers.append(await client.request("hang", {}))

                group.start_soon(ask)
                await self.until(lambda: gateway.asked)
                begun = time.monotonic()
            assert time.monotonic() - begun < self.prompt
            await self.until(lambda: answers)
        assert (answers[0][0], answers[0][1]["oops"]) == ("error", "system_error")

    @pytest.mark.parametrize("name", ["raise", "mumble"])
    async def test_a_fault_of_the_manager_is_answered_as_a_failure(self, name: str) -> None:
        async with self._serving(AwkwardGateway()) as address, self.client(address) as client:
            event, body = await self.ask(client, name, {})
            assert (event, body["oops"]) == ("error", "system_error")
            assert await self.ask(client, "echo", [1]) == ("said", {"said": [1]})

    async def test_clients_are_told_that_events_were_lost_and_hear_the_next_ones(self) -> None:
        gateway, listener = AwkwardGateway(), Listener()
        async with (
            self._serving(gateway) as address,
            self.client(address) as client,
            anyio.create_task_group() as group,
        ):
            await group.start(listener.listen, client)
            gateway.move(*("lost" for _ in range(ROOM + 1)))
            await self.until(lambda: listener.bodies("error"))
            gateway.move("next")
            await self.until(lambda: listener.about("next"))
            group.cancel_scope.cancel()
        assert not listener.about("lost")
        assert [body["oops"] for body in listener.bodies("error")] == ["system_error"]

    async def test_what_ends_its_context_is_raised_as_it_was(self) -> None:
        with pytest.raises(LookupError, match="as it was"):
            async with self._serving(AwkwardGateway()):
                raise LookupError("as it was")

    @asynccontextmanager
    async def _serving(self, gateway: AwkwardGateway) -> AsyncIterator[str]:
        own = self.provider.settings_class() if self.settings is None else self.settings
        log = get_log(f"frontend.{self.provider.name}")
        context = ProviderContext(settings=own, core=self.core_settings(), log=log)
        async with self.provider.factory(context, gateway) as frontend:
            yield frontend.addresses[0]
