"""The six registration hooks of the entry-point group ``flow_manager``.

A hook is a plain function (never ``async``), called once at start-up. It does no I/O and returns
a sequence of provider records. A plugin module implements the ones it needs::

    import flow_manager_core as fm

    @fm.hookimpl
    def flow_manager_container_backends():
        return [fm.BackendProvider(name="mine", factory=MyBackend.open)]
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from flow_manager_core.providers import (
    BackendProvider,
    ErrorFormatProvider,
    FrontendProvider,
    JournalProvider,
    RecoveryProvider,
    TransportProvider,
)

PROJECT = "flow_manager"

#: Marks what is specified here.
hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
#: Marks a plugin's function as the hook whose name it has.
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)


@hookspec
def flow_manager_container_backends() -> Sequence[BackendProvider]:  # type: ignore[empty-body]
    """Offer container backends: what makes, runs and watches containers.

    Example: ``return [BackendProvider(name="process", factory=ProcessBackend.open)]``
    """


@hookspec
def flow_manager_transports() -> Sequence[TransportProvider]:  # type: ignore[empty-body]
    """Offer transports: what gives each container a channel.

    Example: ``return [TransportProvider(name="unix_socket", factory=UnixSocketTransport.open)]``
    """


@hookspec
def flow_manager_recovery_policies() -> Sequence[RecoveryProvider]:  # type: ignore[empty-body]
    """Offer recovery policies: what decides when an ended container is started again.

    Example: ``return [RecoveryProvider(name="backoff", factory=lambda c: Backoff(c.settings))]``
    """


@hookspec
def flow_manager_error_formats() -> Sequence[ErrorFormatProvider]:  # type: ignore[empty-body]
    """Offer error formats: what turns a failure into the object that clients get.

    Example: ``return [ErrorFormatProvider(name="standard", factory=lambda c: standard_format)]``
    """


@hookspec
def flow_manager_frontends() -> Sequence[FrontendProvider]:  # type: ignore[empty-body]
    """Offer frontends: what lets clients in.

    Example: ``return [FrontendProvider(name="socketio", factory=serve)]``
    """


@hookspec
def flow_manager_journals() -> Sequence[JournalProvider]:  # type: ignore[empty-body]
    """Offer journals: what keeps what must not be lost.

    Example: ``return [JournalProvider(name="sqlite", factory=lambda c, f: SqliteJournal.open(f))]``
    """
