"""Registers the frontend ``rabbitmq``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from flow_manager_core.contracts import Frontend, Gateway
from flow_manager_core.findings import Check, Finding, Scene
from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import FrontendProvider, ProviderContext
from flow_manager_rabbitmq.settings import RabbitMQSettings


def _open(context: ProviderContext, gateway: Gateway) -> AbstractAsyncContextManager[Frontend]:
    # Imported on use: listing plugins must not cost the import of an AMQP client.
    from flow_manager_rabbitmq.frontend import serve

    return serve(context, gateway)


async def _examine(context: ProviderContext, scene: Scene) -> Sequence[Finding]:
    from flow_manager_rabbitmq.examination import broker

    return await broker(context, scene)


BROKER = Check(
    name="rabbitmq-broker",
    asks="does the broker answer, and let us in",
    look=_examine,
    seconds=20.0,
)


@hookimpl
def flow_manager_frontends() -> Sequence[FrontendProvider]:
    """Offer the frontend."""
    return [
        FrontendProvider(
            name="rabbitmq",
            summary="commands from a RabbitMQ queue, events to a topic exchange, on asyncio",
            settings_class=RabbitMQSettings,
            factory=_open,
            checks=(BROKER,),
        )
    ]
