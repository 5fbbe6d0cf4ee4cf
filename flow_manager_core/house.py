"""Puts the parts of a manager together, in the order in which they need one another."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio

from flow_manager_core.adoption import Adopter, Channels
from flow_manager_core.bus import EventBus
from flow_manager_core.choice import Chosen
from flow_manager_core.operations.running import start_run
from flow_manager_core.recovery import Recoverer
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.reporter import ErrorBody, Reporter
from flow_manager_core.services import Services
from flow_manager_core.settings import Settings
from flow_manager_core.supervisor import Supervisor


async def build_services(
    stack: AsyncExitStack,
    settings: Settings,
    chosen: Chosen,
    bus: EventBus,
    error_body: ErrorBody,
) -> Services:
    """Enter backend and transport, adopt what is there, and start to watch.

    An engine that does not answer is no reason not to start: the supervisor goes on asking.
    """
    backend_provider, backend_context = chosen.backend
    transport_provider, transport_context = chosen.transport
    backend = await stack.enter_async_context(backend_provider.factory(backend_context))
    transport = await stack.enter_async_context(transport_provider.factory(transport_context))
    group = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(group.cancel_scope.cancel)
    registry = Registry()
    reporter = Reporter(bus, error_body)
    channels = Channels(transport, reporter, settings.frame_limit, error_body)
    adopter = Adopter(registry, channels)

    async def start(record: ContainerRecord) -> None:
        await start_run(services, record)

    recovery = Recoverer(chosen.recovery, reporter, group, start)
    supervisor = Supervisor(
        backend,
        registry,
        reporter,
        interval=settings.reconcile_interval,
        on_end=recovery.run_ended,
        adopt=adopter.adopt,
        drop=adopter.release,
    )
    services = Services(
        settings=settings,
        backend_name=backend_provider.name,
        backend=backend,
        transport=transport,
        registry=registry,
        channels=channels,
        supervisor=supervisor,
        recovery=recovery,
        reporter=reporter,
    )
    await supervisor.try_reconcile()
    group.start_soon(supervisor.run)
    return services
