"""Turns the settings' names into providers, each with its own settings and context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from flow_manager_core.blame import blamed, guarded
from flow_manager_core.contracts import ErrorFormat, RecoveryPolicy
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault
from flow_manager_core.picking import BEST_RECOVERY, Picked, best_backend, pick_named
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


@frozen
class Chosen:
    """What a manager is made of. Pure parts are made already, the others with their context."""

    backend: tuple[BackendProvider, ProviderContext]
    transport: tuple[TransportProvider, ProviderContext]
    journal: tuple[JournalProvider, ProviderContext]
    frontends: tuple[tuple[FrontendProvider, ProviderContext], ...]
    recovery: RecoveryPolicy
    error_format: ErrorFormat


class Choice:
    """The choice, to be made when the manager starts.

    Args:
        provider_settings: instances of settings classes, by provider name; by the qualified one
            where two kinds have a provider of the same name.
    """

    def __init__(
        self,
        host: PluginHost,
        settings: Settings,
        provider_settings: Mapping[str, Any],
        *,
        backend: BackendProvider | None = None,
        transport: TransportProvider | None = None,
        recovery: RecoveryProvider | None = None,
        error_format: ErrorFormatProvider | None = None,
        journal: JournalProvider | None = None,
        frontends: Sequence[FrontendProvider] | None = None,
    ) -> None:
        self._host = host
        self._settings = settings
        self._provider_settings = provider_settings
        self._given: dict[str, Any] = {
            "backend": backend,
            "transport": transport,
            "recovery": recovery,
            "error_format": error_format,
            "journal": journal,
            "frontends": frontends,
        }
        self._log = get_log("plugins")

    async def pick(self) -> Picked:
        """Find the providers, and ask backends whether they are available where none is named."""
        picked = pick_named(self._host, self._settings, self._given)
        if self._settings.backend == AUTO and self._given["backend"] is None:
            backend, unavailable, faults = await best_backend(self._host, self.context)
            picked = attrs.evolve(
                picked,
                backend=backend,
                unavailable=unavailable,
                faults=(*picked.faults, *faults),
            )
        return picked

    async def make(self, faults: Sequence[Fault] = ()) -> Chosen:
        """Choose.

        Args:
            faults: what is wrong already, to be told with the rest.

        Raises:
            ConfigurationError: with everything that is missing, or is no provider's record.
        """
        if given := self._given_faults():
            raise ConfigurationError([*faults, *given])
        picked = await self.pick()
        self._tell(picked)
        backend, transport = picked.backend, picked.transport
        recovery, formats, journal = picked.recovery, picked.error_format, picked.journal
        everything = [*faults, *picked.faults, *self._unfit(picked.chosen)]
        if everything or not (backend and transport and recovery and formats and journal):
            raise ConfigurationError(everything)
        return Chosen(
            backend=(self._guarded(backend), self.context(backend)),
            transport=(self._guarded(transport), self.context(transport)),
            journal=(self._guarded(journal), self.context(journal)),
            frontends=tuple((self._guarded(f), self.context(f)) for f in picked.frontends),
            recovery=self._made(recovery),
            error_format=self._made(formats),
        )

    def _given_faults(self) -> list[Fault]:
        given: list[tuple[type[Provider], object]] = [
            (BackendProvider, self._given["backend"]),
            (TransportProvider, self._given["transport"]),
            (RecoveryProvider, self._given["recovery"]),
            (ErrorFormatProvider, self._given["error_format"]),
            (JournalProvider, self._given["journal"]),
            *((FrontendProvider, frontend) for frontend in self._given["frontends"] or ()),
        ]
        return [
            Fault(kind.kind, f"a {kind.__name__} belongs here, not a {type(value).__name__}")
            for kind, value in given
            if value is not None and not isinstance(value, kind)
        ]

    def context(self, provider: Provider) -> ProviderContext:
        """What a provider is built from."""
        own = self._own(provider)
        return ProviderContext(
            settings=provider.settings_class() if own is None else own,
            core=self._settings,
            log=get_log(provider.name),
        )

    def _own(self, provider: Provider) -> Any:
        given = self._provider_settings
        return given.get(provider.qualified, given.get(provider.name))

    def _unfit(self, providers: Sequence[Provider]) -> list[Fault]:
        """Name settings that are not of their provider's class."""
        return [
            Fault(
                f"provider_settings.{provider.name}",
                f"must be of the class {provider.settings_class.__name__},"
                f" not {type(self._own(provider)).__name__}",
            )
            for provider in providers
            if not isinstance(self._own(provider), (provider.settings_class, type(None)))
        ]

    def _guarded(self, provider: Any) -> Any:
        origin = self._host.brought_by(provider)
        return attrs.evolve(provider, factory=guarded(provider, origin, provider.factory))

    def _made(self, provider: RecoveryProvider | ErrorFormatProvider) -> Any:
        with blamed(provider, self._host.brought_by(provider)):
            return provider.factory(self.context(provider))

    def _tell(self, picked: Picked) -> None:
        for name, reason in picked.unavailable.items():
            self._log.info("Backend not available", backend=name, reason=reason)
        automatic = self._settings.recovery == AUTO and self._given["recovery"] is None
        if automatic and picked.recovery and picked.recovery.name != BEST_RECOVERY:
            why = self._host.missing(RecoveryProvider, BEST_RECOVERY).message
            self._log.warning("No automatic recovery", reason=why)
