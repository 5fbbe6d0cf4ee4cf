"""The plugin's hook: the provider ``process``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from flow_manager_core.hookspecs import hookimpl
from flow_manager_core.providers import BackendProvider, ProviderContext
from flow_manager_process.backend import ProcessBackend
from flow_manager_process.examination import CHECKS
from flow_manager_process.onlooker import onlook
from flow_manager_process.settings import ProcessSettings


async def probe(_context: ProviderContext) -> str | None:
    """Say why processes cannot be kept here."""
    if os.name != "posix":
        return "the process backend needs a POSIX system"
    if not sys.executable:
        return "the process backend needs a Python executable, and this Python has none"
    return None


PROVIDER = BackendProvider(
    name="process",
    summary="flows are child processes; needs no engine",
    settings_class=ProcessSettings,
    factory=ProcessBackend.open,
    rank=0,
    probe=probe,
    onlook=onlook,
    checks=CHECKS,
)


@hookimpl
def flow_manager_container_backends() -> Sequence[BackendProvider]:
    """Offer the process backend."""
    return [PROVIDER]
