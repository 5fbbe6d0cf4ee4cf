"""The frontend: a line to the broker, commands in, events out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from flow_manager_core.contracts import Frontend, Gateway
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.providers import ProviderContext
from flow_manager_rabbitmq.address import Places
from flow_manager_rabbitmq.desk import Desk
from flow_manager_rabbitmq.keeper import Keeper
from flow_manager_rabbitmq.line import Line
from flow_manager_rabbitmq.relay import Relay


class RabbitMQFrontend(Frontend):
    """Serves whoever can reach the broker."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses: Sequence[str] = tuple(addresses)


@asynccontextmanager
async def serve(context: ProviderContext, gateway: Gateway) -> AsyncIterator[Frontend]:
    """Serve for as long as the context lasts. A broker that is away is waited for.

    Raises:
        ConfigurationError: the broker refuses us, or the event loop is not asyncio's.
    """
    require_asyncio()
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        parts = _Parts(context, gateway, group)
        try:
            await parts.open()
            yield RabbitMQFrontend([parts.places.told()])
        except Exception as error:  # noqa: BLE001 - carried past the task group's wrapping
            failure = error
        finally:
            with anyio.CancelScope(shield=True):
                await parts.close()
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Parts:
    """What the frontend is made of, in the order in which it begins and ends."""

    def __init__(self, context: ProviderContext, gateway: Gateway, group: TaskGroup) -> None:
        settings, log = context.settings, context.log
        self.places = places = Places.of(settings, context.core.instance)
        self._group = group
        self._log = log
        self._desk = Desk(gateway, settings, places.queue, group, log)
        self._relay = Relay(gateway, group, self._desk.stop, log)
        self._keeper = Keeper(places, settings, log, self._take_up)

    async def open(self) -> None:
        self._group.start_soon(self._relay.run)
        await self._group.start(self._keeper.run)
        self._log.info("Listening", broker=self.places.shown, queue=self.places.queue)

    async def _take_up(self, line: Line, prefetch: int) -> None:
        self._relay.take_up(line)
        await self._desk.take_up(line, prefetch)

    async def close(self) -> None:
        await self._desk.close()
        await self._relay.close()


def require_asyncio() -> None:
    """Refuse any other event loop.

    Raises:
        ConfigurationError: the event loop is not asyncio's.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        told = "the rabbitmq frontend runs on asyncio alone: aio-pika knows no other loop"
        raise ConfigurationError([Fault("frontends", told)]) from None
