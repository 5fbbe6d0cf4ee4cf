"""The frontend: a line to the broker, commands in, events out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio

from flow_manager_core.contracts import Frontend, Gateway
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.providers import ProviderContext
from flow_manager_rabbitmq.address import Places
from flow_manager_rabbitmq.desk import Desk
from flow_manager_rabbitmq.keeper import Keeper
from flow_manager_rabbitmq.line import Line
from flow_manager_rabbitmq.relay import Relay
from flow_manager_rabbitmq.settings import RabbitMQSettings


class RabbitMQFrontend(Frontend):
    """Serves whoever can reach the broker."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = tuple(addresses)


@asynccontextmanager
async def serve(context: ProviderContext, gateway: Gateway) -> AsyncIterator[Frontend]:
    """Serve for as long as the context lasts. A broker that is away is waited for.

    Raises:
        ConfigurationError: the broker refuses us, or the event loop is not asyncio's.
    """
    require_asyncio()
    settings: RabbitMQSettings = context.settings
    places = Places.of(settings, context.core.instance)
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        desk = Desk(gateway, settings, places.queue, group, context.log)
        relay = Relay(gateway, group, desk.stop, context.log)
        keeper = Keeper(places, settings, context.log, partial(_take_up, relay, desk))
        try:
            await group.start(relay.run)
            await group.start(keeper.run)
            relay.begin()
            context.log.info("Listening", broker=places.shown, queue=places.queue)
            yield RabbitMQFrontend([f"{places.shown} (queue {places.queue})"])
        except Exception as error:  # noqa: BLE001 - carried past the task group's wrapping
            failure = error
        finally:
            await _close(desk, relay)
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _take_up(relay: Relay, desk: Desk, line: Line, prefetch: int) -> None:
    await relay.take_up(line)
    await desk.take_up(line, prefetch)


async def _close(desk: Desk, relay: Relay) -> None:
    with anyio.CancelScope(shield=True):
        await desk.close()
        await relay.close()


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
