"""Puts the parts of a manager together, in the order in which they need one another."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio

from flow_manager_core.adoption import Adopter, Channels
from flow_manager_core.bus import EventBus
from flow_manager_core.choice import Chosen
from flow_manager_core.convergence import Converger, clear_workplace
from flow_manager_core.desired import Wish
from flow_manager_core.engine_watch import EngineWatch
from flow_manager_core.gate import Gate
from flow_manager_core.ledger import Ledger
from flow_manager_core.lifecycle import RunEnded
from flow_manager_core.operations.running import start_run
from flow_manager_core.records import open_records
from flow_manager_core.recovery import Recoverer
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.reporter import ErrorBody, Reporter
from flow_manager_core.retrying import Retrier
from flow_manager_core.services import Services
from flow_manager_core.settings import Settings
from flow_manager_core.supervisor import Supervisor

#: Seconds that the start waits for an engine; after that it goes on being looked for.
FIRST_LOOK = 15.0
#: Seconds beyond the deadline of a request in which an engine may still carry it out.
LATE = 5.0
#: Seconds for what a program said last to be read, before its connection is ended for it.
LAST_WORDS = 1.0


async def build_services(
    stack: AsyncExitStack,
    settings: Settings,
    chosen: Chosen,
    bus: EventBus,
    error_body: ErrorBody,
) -> Services:
    """Enter backend and transport, adopt what is there, and start to watch.

    An engine that does not answer is no reason not to start: it goes on being looked for.
    """
    backend_provider, backend_context = chosen.backend
    transport_provider, transport_context = chosen.transport
    records, past, workplace = await stack.enter_async_context(open_records(settings))
    backend = await stack.enter_async_context(backend_provider.factory(backend_context))
    transport = await stack.enter_async_context(transport_provider.factory(transport_context))
    group = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(group.cancel_scope.cancel)
    registry = Registry()
    reporter = Reporter(bus, error_body)
    ledger = Ledger(records, past)
    gate = Gate()
    channels = Channels(
        transport,
        reporter,
        settings.frame_limit,
        settings.heartbeat_interval,
        error_body,
        on_end=lambda record: supervisor.channel_ended(record),
    )
    adopter = Adopter(registry, channels, ledger, settings.request_timeout + LATE)

    async def start(record: ContainerRecord) -> None:
        await start_run(services, record, refused=Wish.UP)

    async def on_end(record: ContainerRecord, ended: RunEnded) -> None:
        await recovery.run_ended(record, ended)
        group.start_soon(_end_channel, record)

    recovery = Recoverer(chosen.recovery, reporter, ledger, gate, group, start)
    supervisor = Supervisor(
        backend,
        registry,
        reporter,
        ledger,
        gate,
        on_end=on_end,
        adopt=adopter.adopt,
        drop=adopter.release,
        sweep=adopter.sweep,
        consider=lambda record: converger.consider(record),
    )
    watch = EngineWatch(
        backend,
        gate,
        interval=settings.reconcile_interval,
        heard=supervisor.heard,
        catch_up=supervisor.catch_up,
        compare=supervisor.reconcile,
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
        ledger=ledger,
        gate=gate,
        retry=Retrier(chosen.recovery, gate, settings.retry_for),
        workplace=workplace,
    )
    converger = Converger(services, group)
    looked = anyio.Event()
    group.start_soon(supervisor.run)
    group.start_soon(watch.run, looked)
    with anyio.move_on_after(FIRST_LOOK):
        await looked.wait()
    await clear_workplace(services)
    return services


async def _end_channel(record: ContainerRecord) -> None:
    """End the connection of a run that is over, which somebody else may still hold open."""
    connections = record.channel.connections if record.channel else 0
    await anyio.sleep(LAST_WORDS)
    if record.channel and record.channel.connections == connections and not record.state.alive:
        record.channel.end("the container ended")
