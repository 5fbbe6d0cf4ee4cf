"""Flow Manager: the control plane for programs that live in containers and answer in real time.

The names below are what hosts and plugins import; the contracts of the seams are in `contracts`,
the values in `models`, the failures in `errors`.
"""

from __future__ import annotations

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.manager import FlowManager
from flow_manager_core.plugins import PluginHost
from flow_manager_core.providers import (
    BackendProvider,
    ErrorFormatProvider,
    FrontendProvider,
    JournalProvider,
    ProviderContext,
    RecoveryProvider,
    TransportProvider,
)
from flow_manager_core.settings import Settings
from flow_manager_core.version import __version__

__all__ = [
    "BackendProvider",
    "ErrorFormatProvider",
    "FlowManager",
    "FlowManagerError",
    "FrontendProvider",
    "JournalProvider",
    "PluginHost",
    "ProviderContext",
    "RecoveryProvider",
    "Settings",
    "TransportProvider",
    "__version__",
    "hookimpl",
]
