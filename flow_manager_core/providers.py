"""The records that plugins' hooks return: a name, a settings class, a factory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from flow_manager_core.contracts import (
    ContainerBackend,
    ErrorFormat,
    Frontend,
    Gateway,
    Onlooker,
    RecoveryPolicy,
    Transport,
)
from flow_manager_core.findings import Check
from flow_manager_core.journals import Journal
from flow_manager_core.log import Log
from flow_manager_core.settings import Settings


@frozen
class NoSettings:
    """For providers that have nothing to set."""


@frozen
class ProviderContext:
    """What a provider is built from.

    Args:
        settings: an instance of the provider's own settings class.
        core: the manager's settings.
        log: a logger of the provider's own.
    """

    settings: Any
    core: Settings
    log: Log


@frozen(kw_only=True)
class Provider:
    """What all provider records have.

    Args:
        name: what settings choose it by; unique for its kind. A letter, then letters, digits,
            ``_`` and ``-``, at most 63.
        summary: one line for people.
        settings_class: an attrs class whose fields all have defaults, and types that settings can
            have (see `setting_values`); read from the section ``[<name>]`` of the file and from
            ``FLOW_MANAGER_<NAME>_<FIELD>``, or the same with `qualified` for the name. What a
            value must be is said by the fields' validators. A field with
            ``metadata={"secret": True}`` is never shown.
        checks: what ``flow-manager doctor`` asks of it where it is chosen.
    """

    kind: ClassVar[str]
    name: str
    summary: str = ""
    settings_class: type = NoSettings
    checks: tuple[Check, ...] = ()

    @property
    def qualified(self) -> str:
        """The kind and the name, such as ``transport_tcp``: unique among all providers."""
        return f"{self.kind}_{self.name}"


@frozen(kw_only=True)
class BackendProvider(Provider):
    """A container backend.

    Args:
        factory: its context is the backend's life.
        rank: with ``backend = "auto"`` the highest rank that is available is taken.
        probe: says why it is not available here, ``None`` when it is. One that raises, or
            takes longer than 5 seconds, counts as not available.
        onlook: gives the doctor eyes; without it the doctor knows nothing of containers. Entering
            it asks nobody anything, so it takes no time.
    """

    kind: ClassVar[str] = "backend"
    factory: Callable[[ProviderContext], AbstractAsyncContextManager[ContainerBackend]]
    rank: int = 0
    probe: Callable[[ProviderContext], Awaitable[str | None]] | None = None
    onlook: Callable[[ProviderContext], AbstractAsyncContextManager[Onlooker]] | None = None


@frozen(kw_only=True)
class TransportProvider(Provider):
    """A transport; its context is the transport's life."""

    kind: ClassVar[str] = "transport"
    factory: Callable[[ProviderContext], AbstractAsyncContextManager[Transport]]


@frozen(kw_only=True)
class RecoveryProvider(Provider):
    """A recovery policy."""

    kind: ClassVar[str] = "recovery"
    factory: Callable[[ProviderContext], RecoveryPolicy]


@frozen(kw_only=True)
class ErrorFormatProvider(Provider):
    """An error format."""

    kind: ClassVar[str] = "error_format"
    factory: Callable[[ProviderContext], ErrorFormat]


@frozen(kw_only=True)
class FrontendProvider(Provider):
    """A frontend; it serves for as long as its context lasts."""

    kind: ClassVar[str] = "frontend"
    factory: Callable[[ProviderContext, Gateway], AbstractAsyncContextManager[Frontend]]


@frozen(kw_only=True)
class JournalProvider(Provider):
    """A journal.

    Args:
        factory: its context is the journal's life. It gets a folder of its own, which nobody else
            uses meanwhile: where it is `lasting` the instance's, else one that ends with it.
        lasting: whether what is kept outlives the manager.
    """

    kind: ClassVar[str] = "journal"
    factory: Callable[[ProviderContext, Path], AbstractAsyncContextManager[Journal]]
    lasting: bool = True


__all__ = [
    "BackendProvider",
    "ErrorFormatProvider",
    "FrontendProvider",
    "JournalProvider",
    "NoSettings",
    "Provider",
    "ProviderContext",
    "RecoveryProvider",
    "TransportProvider",
]
