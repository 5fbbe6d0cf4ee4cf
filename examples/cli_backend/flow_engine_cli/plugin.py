"""The hook by which the core finds the backend."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import flow_manager_core as fm
from flow_engine_cli.backend import CliBackend
from flow_engine_cli.settings import CliSettings

PROVIDER = fm.BackendProvider(
    name="engine_cli",
    summary="flows in containers, by an engine's command line",
    settings_class=CliSettings,
    factory=lambda context: nullcontext(CliBackend(context.settings, context.core.instance)),
    rank=-1,  # below all bundled ones: it is there for those who ask for it
)


@fm.hookimpl
def flow_manager_container_backends() -> Sequence[fm.BackendProvider]:
    """Offer the backend."""
    return [PROVIDER]
