"""The parts that operations work with, in one record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from flow_manager_core.adoption import Channels
from flow_manager_core.aftermath import Aftermath
from flow_manager_core.backups.shelf import BackupShelf
from flow_manager_core.contracts import ContainerBackend, Transport
from flow_manager_core.durable.post import Post
from flow_manager_core.gate import Gate
from flow_manager_core.health_checks.keeper import HealthKeeper
from flow_manager_core.history import History
from flow_manager_core.instance_folder import Workplace
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.ledger import Ledger
from flow_manager_core.listening import Listeners
from flow_manager_core.log_following import LogFollower
from flow_manager_core.log_levels import LogLevels
from flow_manager_core.metrics import Metrics
from flow_manager_core.monitoring.monitor import Monitor
from flow_manager_core.operation_book import OperationBook
from flow_manager_core.recovery import Recoverer
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.reporter import Reporter
from flow_manager_core.retrying import Retrier
from flow_manager_core.settings import Settings
from flow_manager_core.supervisor import Supervisor


@frozen(kw_only=True)
class Services:
    """What an operation may use.

    Args:
        discard: takes away what a restore laid under a container, by the container's key.
        settle: finishes or undoes what an earlier operation left of a container.
    """

    settings: Settings
    backend_name: str
    journal_name: str
    backend: ContainerBackend
    transport: Transport
    registry: Registry
    channels: Channels
    supervisor: Supervisor
    recovery: Recoverer
    reporter: Reporter
    metrics: Metrics
    journal: JournalWriter
    post: Post
    book: OperationBook
    aftermath: Aftermath
    history: History
    ledger: Ledger
    gate: Gate
    retry: Retrier
    monitor: Monitor
    health: HealthKeeper
    log_follower: LogFollower
    listeners: Listeners
    log_levels: LogLevels
    workplace: Workplace
    shelf: BackupShelf
    discard: Callable[[str], Awaitable[None]]
    settle: Callable[[ContainerRecord], Awaitable[None]]
