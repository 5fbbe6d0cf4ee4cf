"""Puts the parts of a manager together, in the order in which they need one another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial

import anyio
from anyio.abc import TaskGroup
from attrs import frozen

from flow_manager_core.adoption import Adopter, Channels
from flow_manager_core.aftermath import Aftermath, cut_off
from flow_manager_core.backups.shelf import BackupShelf
from flow_manager_core.bus import EventBus
from flow_manager_core.choice import Chosen
from flow_manager_core.contracts import ContainerBackend, Transport
from flow_manager_core.convergence import Converger, clear_workplace
from flow_manager_core.desired import Wish
from flow_manager_core.durable.post import Post
from flow_manager_core.engine_watch import EngineWatch
from flow_manager_core.event_stream import EventSource
from flow_manager_core.gate import Gate
from flow_manager_core.healing import Healer
from flow_manager_core.health_checks.configs import HealthConfigs
from flow_manager_core.health_checks.keeper import Heal, HealthKeeper
from flow_manager_core.health_checks.probes import Probes
from flow_manager_core.history import History
from flow_manager_core.instance_folder import Workplace
from flow_manager_core.journal.life import open_journal
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.ledger import Ledger
from flow_manager_core.lifecycle import RunEnded
from flow_manager_core.listening import Listeners, Onlooking
from flow_manager_core.log_following import LogFollower
from flow_manager_core.log_levels import LogLevels
from flow_manager_core.metrics import Metrics
from flow_manager_core.monitoring.monitor import Monitor
from flow_manager_core.operation_book import OperationBook
from flow_manager_core.operations.running import start_run
from flow_manager_core.operations.transfers import discard_ground
from flow_manager_core.past import legible
from flow_manager_core.preferences import Preferences
from flow_manager_core.recovery import Recoverer
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.reporter import ErrorBody, Reporter
from flow_manager_core.retention import Pruner, keeping_of
from flow_manager_core.retrying import Retrier
from flow_manager_core.services import Services
from flow_manager_core.settings import Settings
from flow_manager_core.shelter import sheltered
from flow_manager_core.soundness import SoundPolicy
from flow_manager_core.supervisor import Supervisor

#: Seconds that the start waits for an engine; after that it goes on being looked for.
FIRST_LOOK = 15.0
#: Seconds of answering in which an engine may still carry out a create that nobody waits for.
LATE = 15.0
#: Seconds for what a program said last to be read, before its connection is ended for it.
LAST_WORDS = 1.0


@frozen(kw_only=True)
class _Ground:
    """What the parts stand on: entered, but not yet connected with one another."""

    backend: ContainerBackend
    transport: Transport
    group: TaskGroup
    bus: EventBus
    registry: Registry
    journal: JournalWriter
    ledger: Ledger
    preferences: Preferences
    workplace: Workplace


async def build_services(
    stack: AsyncExitStack,
    settings: Settings,
    chosen: Chosen,
    bus: EventBus,
    metrics: Metrics,
    error_body: ErrorBody,
) -> Services:
    """Enter backend and transport, adopt what is there, and start to watch.

    An engine that does not answer is no reason not to start: it goes on being looked for.
    """
    ground = await _enter(stack, settings, chosen, bus, metrics)
    reporter = Reporter(bus, ground.journal, error_body, metrics)
    services, watch = _connect(ground, settings, chosen, reporter, metrics)
    stack.callback(services.log_levels.close)
    with legible():
        await services.post.load()
    looked = anyio.Event()
    keeping = keeping_of(settings, lasting=chosen.journal[0].lasting)
    ground.group.start_soon(Pruner(ground.journal, keeping).run)
    await services.book.recall(cut_off)
    ground.group.start_soon(services.supervisor.run)
    ground.group.start_soon(watch.run, looked)
    ground.group.start_soon(services.monitor.run)
    ground.group.start_soon(services.post.run)
    with anyio.move_on_after(FIRST_LOOK):
        await looked.wait()
    await clear_workplace(services)
    return services


async def _enter(
    stack: AsyncExitStack, settings: Settings, chosen: Chosen, bus: EventBus, metrics: Metrics
) -> _Ground:
    backend, backend_context = chosen.backend
    transport, transport_context = chosen.transport
    registry = Registry()
    life = await sheltered(stack, open_journal(settings, *chosen.journal))
    journal = JournalWriter(
        life.journal,
        lambda events: bus.publish(*events),
        epoch=life.epoch,
        last=life.past.last,
        metrics=metrics,
        identify=registry.identity,
    )
    # It outlives all who write.
    await sheltered(stack, journal.running())
    ground = _Ground(
        backend=await sheltered(stack, backend.factory(backend_context)),
        transport=await sheltered(stack, transport.factory(transport_context)),
        group=await sheltered(stack, anyio.create_task_group()),
        bus=bus,
        registry=registry,
        journal=journal,
        ledger=Ledger(journal, life.past),
        preferences=Preferences(journal, life.past.facts),
        workplace=life.workplace,
    )
    stack.callback(ground.group.cancel_scope.cancel)
    return ground


class _Later:
    """What parts do through others that are made after them."""

    services: Services
    converger: Converger
    healer: Healer

    def __init__(self, group: TaskGroup) -> None:
        self._group = group

    def channel_ended(self, record: ContainerRecord) -> None:
        """A channel went down."""
        self.services.supervisor.channel_ended(record)

    def consider(self, record: ContainerRecord) -> None:
        """See whether a container is what it is meant to be."""
        self.converger.consider(record)

    async def settle(self, record: ContainerRecord) -> None:
        """Finish or undo what an earlier operation left."""
        await self.converger.settle(record)

    async def start(self, record: ContainerRecord) -> None:
        """Start a container again."""
        await start_run(self.services, record, refused=Wish.UP, patient=False)

    async def run_ended(self, record: ContainerRecord, ended: RunEnded) -> None:
        """A run is over: recovery decides, and its connection ends."""
        await self.services.recovery.run_ended(record, ended)
        self._group.start_soon(_end_channel, record)

    async def heal(self, record: ContainerRecord, run: datetime | None) -> None:
        """Restart a container whose checks fail."""
        await self.healer.heal(record, run)


def _connect(
    ground: _Ground, settings: Settings, chosen: Chosen, reporter: Reporter, metrics: Metrics
) -> tuple[Services, EngineWatch]:
    """Make the parts; those that need a later one reach it through `_Later`."""
    registry, gate, policy = ground.registry, Gate(), SoundPolicy(chosen.recovery)
    post = _post_of(ground, reporter, settings)
    later = _Later(ground.group)
    channels = Channels(ground.transport, reporter, settings, later.channel_ended, post.lines)
    adopter = _adopter(ground, registry, channels, reporter, post)
    aftermath = Aftermath(
        OperationBook(ground.journal, reporter.error_body),
        registry,
        ground.ledger,
        gate,
        adopter.sweep,
    )
    supervisor = Supervisor(
        ground.backend,
        registry,
        reporter,
        ground.ledger,
        gate,
        metrics,
        on_end=later.run_ended,
        adopt=adopter.adopt,
        drop=adopter.release,
        sweep=aftermath.sweep,
        consider=later.consider,
    )
    monitor = Monitor(ground.backend, registry, reporter, gate, ground.preferences, settings)
    services = Services(
        settings=settings,
        backend_name=chosen.backend[0].name,
        journal_name=chosen.journal[0].name,
        backend=ground.backend,
        transport=ground.transport,
        registry=registry,
        channels=channels,
        supervisor=supervisor,
        recovery=Recoverer(policy, reporter, ground.ledger, gate, ground.group, later.start),
        reporter=reporter,
        metrics=metrics,
        journal=ground.journal,
        post=post,
        book=aftermath.book,
        aftermath=aftermath,
        history=History(ground.journal),
        ledger=ground.ledger,
        gate=gate,
        retry=Retrier(policy, gate, settings.retry_for),
        monitor=monitor,
        health=_health_keeper(ground, supervisor, reporter, gate, later.heal),
        log_follower=LogFollower(ground.backend, gate, ground.group),
        listeners=_listeners(ground, reporter, Onlooking(registry, gate, monitor.latest)),
        log_levels=LogLevels(),
        workplace=ground.workplace,
        shelf=BackupShelf(settings),
        discard=_discard_of(ground.backend),
        settle=later.settle,
    )
    registry.on_admitted.append(services.health.take_in)
    later.services, later.healer = services, Healer(services)
    later.converger = Converger(services, ground.group)
    return services, EngineWatch(ground.backend, gate, supervisor, metrics, settings)


def _post_of(ground: _Ground, reporter: Reporter, settings: Settings) -> Post:
    return Post(ground.journal, reporter, settings, ground.group)


def _adopter(
    ground: _Ground, registry: Registry, channels: Channels, reporter: Reporter, post: Post
) -> Adopter:
    discard = _discard_of(ground.backend)
    return Adopter(
        registry, channels, ground.ledger, reporter.news, LATE, discard=discard, post=post
    )


def _discard_of(backend: ContainerBackend) -> Callable[[str], Awaitable[None]]:
    return partial(discard_ground, backend)


def _listeners(ground: _Ground, reporter: Reporter, onlooking: Onlooking) -> Listeners:
    source = EventSource(ground.journal, ground.bus, ground.registry.identity, onlooking.present)
    return Listeners(source, reporter.news, ground.group)


def _health_keeper(
    ground: _Ground, supervisor: Supervisor, reporter: Reporter, gate: Gate, heal: Heal
) -> HealthKeeper:
    configs = HealthConfigs(ground.ledger, ground.preferences)
    probes = Probes(ground.backend, supervisor)
    return HealthKeeper(configs, probes, reporter, gate, ground.group, heal)


async def _end_channel(record: ContainerRecord) -> None:
    """End the connection of a run that is over, which somebody else may still hold open."""
    connections = record.channel.connections if record.channel else 0
    await anyio.sleep(LAST_WORDS)
    if record.channel and record.channel.connections == connections and not record.state.alive:
        record.channel.end("the container ended")
