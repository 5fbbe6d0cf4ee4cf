"""Finds the providers that the settings name, and says why one is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import anyio
from attrs import field, frozen

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.plugin_discovery import BUNDLED
from flow_manager_core.plugin_records import one_line, told
from flow_manager_core.plugins import PluginHost
from flow_manager_core.providers import (
    BackendProvider,
    ErrorFormatProvider,
    FrontendProvider,
    JournalProvider,
    Provider,
    ProviderContext,
    RecoveryProvider,
    TransportProvider,
)
from flow_manager_core.settings import AUTO, Settings

P = TypeVar("P", bound=Provider)

#: Seconds that a backend may take to say whether it is available.
PROBE = 5.0
#: What ``recovery = "auto"`` takes where it is installed; else ``none``.
BEST_RECOVERY = "backoff"


@frozen(kw_only=True)
class Picked:
    """The providers; ``None`` where `faults` says why there is none.

    Args:
        unavailable: backend names to what they said when ``auto`` asked them.
    """

    backend: BackendProvider | None
    transport: TransportProvider | None
    recovery: RecoveryProvider | None
    error_format: ErrorFormatProvider | None
    journal: JournalProvider | None
    frontends: tuple[FrontendProvider, ...]
    faults: tuple[Fault, ...]
    unavailable: Mapping[str, str] = field(factory=dict)

    def __contains__(self, provider: object) -> bool:
        return provider in self.chosen

    @property
    def chosen(self) -> tuple[Provider, ...]:
        """Those that there are."""
        one = (self.backend, self.transport, self.recovery, self.error_format, self.journal)
        return tuple(p for p in (*one, *self.frontends) if p is not None)


def pick_named(
    host: PluginHost, settings: Settings, given: Mapping[str, Any] | None = None
) -> Picked:
    """Find every provider that is chosen by name; asks nobody anything.

    Args:
        given: providers instead of the settings' choice, by the settings' names; ``None`` values
            count as left out.
    """
    faults: list[Fault] = []
    instead = {name: one for name, one in (given or {}).items() if one is not None}

    def named(kind: type[P], name: str) -> P | None:
        if kind.kind in instead:
            one: P = instead[kind.kind]
            return one
        try:
            return host.choose(kind, name)
        except ConfigurationError as error:
            faults.extend(error.faults)
            return None

    backend = None
    if "backend" in instead or settings.backend != AUTO:
        backend = named(BackendProvider, settings.backend)
    frontends = instead.get("frontends")
    if frontends is None:
        frontends = [named(FrontendProvider, name) for name in settings.frontends]
    return Picked(
        backend=backend,
        transport=named(TransportProvider, settings.transport),
        recovery=named(RecoveryProvider, recovery_name(host, settings)),
        error_format=named(ErrorFormatProvider, settings.error_format),
        journal=named(JournalProvider, settings.journal),
        frontends=tuple(one for one in frontends if one is not None),
        faults=tuple(faults),
    )


def recovery_name(host: PluginHost, settings: Settings) -> str:
    """The recovery policy's name; the best that is there, for ``auto``."""
    if settings.recovery != AUTO:
        return settings.recovery
    there = any(p.name == BEST_RECOVERY for p in host.providers(RecoveryProvider))
    return BEST_RECOVERY if there else "none"


async def best_backend(
    host: PluginHost, context: Callable[[Provider], ProviderContext]
) -> tuple[BackendProvider | None, dict[str, str], list[Fault]]:
    """Ask the backends, the highest rank first, until one is available.

    Returns:
        It, what those before it said, and the faults if there is none.
    """
    candidates = sorted(host.providers(BackendProvider), key=lambda p: -p.rank)
    reasons: dict[str, str] = {}
    for provider in candidates:
        reason = await _why_not(provider, context)
        if reason is None:
            return provider, reasons, []
        reasons[provider.name] = reason
    told = [f"{name}: {reason}" for name, reason in reasons.items()]
    faults = [Fault("backend", "; ".join(["no backend is available", *told]))]
    faults += _missing(host, [provider.name for provider in candidates])
    return None, reasons, faults


def _missing(host: PluginHost, there: Sequence[str]) -> list[Fault]:
    return [
        host.missing(BackendProvider, name)
        for kind, name in BUNDLED
        if kind == BackendProvider.kind and name not in there
    ]


async def _why_not(
    provider: BackendProvider, context: Callable[[Provider], ProviderContext]
) -> str | None:
    if provider.probe is None:
        return None
    try:
        with anyio.move_on_after(PROBE):
            reason = await provider.probe(context(provider))
            return None if reason is None else one_line(str(reason))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # one that is not chosen yet
        return f"its probe failed: {told(error)}"
    return f"did not answer within {PROBE:g} s"
