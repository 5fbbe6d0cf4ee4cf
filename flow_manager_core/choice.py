"""Turns the settings' names into providers, each with its own settings and context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import anyio
from attrs import frozen

from flow_manager_core.contracts import ErrorFormat, RecoveryPolicy
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault
from flow_manager_core.plugins import BUNDLED, PluginHost
from flow_manager_core.providers import (
    BackendProvider,
    ErrorFormatProvider,
    FrontendProvider,
    Provider,
    ProviderContext,
    RecoveryProvider,
    TransportProvider,
)
from flow_manager_core.settings import AUTO, Settings

P = TypeVar("P", bound=Provider)

#: Seconds that a backend may take to say whether it is available.
PROBE = 5.0


@frozen
class Chosen:
    """What a manager is made of. Pure parts are made already, the others with their context."""

    backend: tuple[BackendProvider, ProviderContext]
    transport: tuple[TransportProvider, ProviderContext]
    frontends: tuple[tuple[FrontendProvider, ProviderContext], ...]
    recovery: RecoveryPolicy
    error_format: ErrorFormat


class Choice:
    """The choice, to be made when the manager starts.

    Args:
        provider_settings: instances of settings classes, by provider name.
    """

    def __init__(
        self,
        host: PluginHost,
        settings: Settings,
        provider_settings: Mapping[str, Any],
        *,
        backend: BackendProvider | None,
        transport: TransportProvider | None,
        recovery: RecoveryProvider | None,
        error_format: ErrorFormatProvider | None,
        frontends: Sequence[FrontendProvider] | None,
    ) -> None:
        self._host = host
        self._settings = settings
        self._provider_settings = provider_settings
        self._backend = backend
        self._transport = transport
        self._recovery = recovery
        self._error_format = error_format
        self._frontends = frontends
        self._log = get_log("plugins")

    async def make(self) -> Chosen:
        """Choose.

        Raises:
            ConfigurationError: with everything that is missing, or is no provider's record.
        """
        if faults := self._given_faults():
            raise ConfigurationError(faults)
        settings = self._settings
        transport = self._named(TransportProvider, settings.transport, self._transport, faults)
        recovery = self._named(RecoveryProvider, self._recovery_name(), self._recovery, faults)
        formats = self._named(
            ErrorFormatProvider, settings.error_format, self._error_format, faults
        )
        frontends = self._frontends
        if frontends is None:
            found = [self._named(FrontendProvider, n, None, faults) for n in settings.frontends]
            frontends = [frontend for frontend in found if frontend is not None]
        backend = await self._chosen_backend(faults)
        if not (transport and recovery and formats and backend) or faults:
            raise ConfigurationError(faults)
        return Chosen(
            backend=(backend, self.context(backend)),
            transport=(transport, self.context(transport)),
            frontends=tuple((f, self.context(f)) for f in frontends),
            recovery=recovery.factory(self.context(recovery)),
            error_format=formats.factory(self.context(formats)),
        )

    def _given_faults(self) -> list[Fault]:
        given: list[tuple[type[Provider], object]] = [
            (BackendProvider, self._backend),
            (TransportProvider, self._transport),
            (RecoveryProvider, self._recovery),
            (ErrorFormatProvider, self._error_format),
            *((FrontendProvider, frontend) for frontend in self._frontends or ()),
        ]
        return [
            Fault(kind.kind, f"a {kind.__name__} belongs here, not a {type(value).__name__}")
            for kind, value in given
            if value is not None and not isinstance(value, kind)
        ]

    def context(self, provider: Provider) -> ProviderContext:
        """What a provider is built from."""
        own = self._provider_settings.get(provider.name)
        return ProviderContext(
            settings=provider.settings_class() if own is None else own,
            core=self._settings,
            log=get_log(provider.name),
        )

    def _named(self, kind: type[P], name: str, given: P | None, faults: list[Fault]) -> P | None:
        if given is not None:
            return given
        try:
            return self._host.choose(kind, name)
        except ConfigurationError as error:
            faults += error.faults
            return None

    def _recovery_name(self) -> str:
        if self._settings.recovery != AUTO or self._recovery is not None:
            return self._settings.recovery
        names = {provider.name for provider in self._host.providers(RecoveryProvider)}
        if "backoff" in names:
            return "backoff"
        self._log.warning("No restarts: pip install flow-manager-backoff for automatic recovery")
        return "none"

    async def _chosen_backend(self, faults: list[Fault]) -> BackendProvider | None:
        if self._backend is not None or self._settings.backend != AUTO:
            return self._named(BackendProvider, self._settings.backend, self._backend, faults)
        candidates = sorted(self._host.providers(BackendProvider), key=lambda p: -p.rank)
        reasons: list[str] = []
        for provider in candidates:
            reason = await self._why_not(provider)
            if reason is None:
                return provider
            self._log.info("Backend not available", backend=provider.name, reason=reason)
            reasons.append(f"{provider.name}: {reason}")
        faults.append(Fault("backend", "; ".join(["no backend is available", *reasons])))
        there = {provider.name for provider in candidates}
        faults += [
            self._host.missing(BackendProvider, name)
            for kind, name in BUNDLED
            if kind == BackendProvider.kind and name not in there
        ]
        return None

    async def _why_not(self, provider: BackendProvider) -> str | None:
        if provider.probe is None:
            return None
        with anyio.move_on_after(PROBE):
            return await provider.probe(self.context(provider))
        return f"did not answer within {PROBE:g} s"
