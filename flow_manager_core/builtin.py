"""What the core brings itself, through the same hooks as every plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.models import GiveUp, RecoveryHistory, RestartPolicy
from flow_manager_core.providers import (
    ErrorFormatProvider,
    JournalProvider,
    ProviderContext,
    RecoveryProvider,
)
from flow_manager_core.sqlite.journal import SqliteJournal
from flow_manager_core.wire import standard_format


class NoRecovery:
    """Never starts anything again."""

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> GiveUp:
        """See `RecoveryPolicy`."""
        return GiveUp(attempts=0, reason="automatic recovery is off (recovery = none)")


@hookimpl
def flow_manager_recovery_policies() -> Sequence[RecoveryProvider]:
    """Offer ``none``."""
    return [
        RecoveryProvider(
            name="none",
            summary="never restarts a container by itself",
            factory=lambda _context: NoRecovery(),
        )
    ]


@hookimpl
def flow_manager_error_formats() -> Sequence[ErrorFormatProvider]:
    """Offer ``standard``."""
    return [
        ErrorFormatProvider(
            name="standard",
            summary="the guide's error object",
            factory=lambda _context: standard_format,
        )
    ]


@asynccontextmanager
async def _memory(_context: ProviderContext, _folder: Path) -> AsyncIterator[MemoryJournal]:
    yield MemoryJournal()


@hookimpl
def flow_manager_journals() -> Sequence[JournalProvider]:
    """Offer ``sqlite`` and ``memory``."""
    return [
        JournalProvider(
            name="sqlite",
            summary="a file in the state folder",
            factory=lambda _context, folder: SqliteJournal.open(folder),
        ),
        JournalProvider(
            name="memory",
            summary="for one life of the manager alone",
            factory=_memory,
            lasting=False,
        ),
    ]
