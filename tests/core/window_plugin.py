"""A plugin that implements every hook, in memory: what a third party's would look like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

import flow_manager_core as fm
from flow_manager_core.contracts import ErrorFormat, Frontend, Gateway, RecoveryPolicy
from flow_manager_core.journals import Journal
from flow_manager_core.memory_journal import MemoryJournal
from flow_manager_core.models import GiveUp, RecoveryHistory, Restart, RestartPolicy
from flow_manager_core.testing.memory_backend import memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider


@frozen
class OnceSettings:
    delay: float = 0.01


class Once(RecoveryPolicy):
    """Starts a container again once."""

    def __init__(self, settings: OnceSettings) -> None:
        self._settings = settings

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
        if len(history.uptimes) == 1:
            return Restart(1, self._settings.delay)
        return GiveUp(1, "once is enough")


class Short(ErrorFormat):
    """Says no more than the kind of the failure."""

    def __call__(self, error: fm.FlowManagerError, at: datetime) -> Mapping[str, Any]:
        return {"kind": error.error_type}


class Window(Frontend):
    """Lets one test look in."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.addresses = ["window:1"]


#: The windows that are open.
WINDOWS: list[Window] = []
#: The folders of the journals that were opened.
SHELVES: list[Path] = []


@asynccontextmanager
async def open_window(_context: fm.ProviderContext, gateway: Gateway) -> AsyncIterator[Frontend]:
    WINDOWS.append(window := Window(gateway))
    try:
        yield window
    finally:
        WINDOWS.remove(window)


@fm.hookimpl
def flow_manager_container_backends() -> Sequence[fm.BackendProvider]:
    return [memory_provider()]


@fm.hookimpl
def flow_manager_transports() -> Sequence[fm.TransportProvider]:
    return [memory_transport_provider(MemoryNetwork())]


@fm.hookimpl
def flow_manager_recovery_policies() -> Sequence[fm.RecoveryProvider]:
    return [
        fm.RecoveryProvider(
            name="once",
            settings_class=OnceSettings,
            factory=lambda context: Once(context.settings),
        )
    ]


@fm.hookimpl
def flow_manager_error_formats() -> Sequence[fm.ErrorFormatProvider]:
    return [fm.ErrorFormatProvider(name="short", factory=lambda _context: Short())]


@fm.hookimpl
def flow_manager_frontends() -> Sequence[fm.FrontendProvider]:
    return [fm.FrontendProvider(name="window", factory=open_window)]


@asynccontextmanager
async def shelf(_context: fm.ProviderContext, folder: Path) -> AsyncIterator[Journal]:
    SHELVES.append(folder)
    yield MemoryJournal()


@fm.hookimpl
def flow_manager_journals() -> Sequence[fm.JournalProvider]:
    return [fm.JournalProvider(name="shelf", factory=shelf)]
